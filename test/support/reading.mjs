import { Prng } from "../../dist/base/prng.js";

/** The vector of an id as operation `op` put it. */
export function vectorOf(id, op, dimensions) {
  const prng = new Prng(id * 7919 + op * 104_729);
  return Float32Array.from({ length: dimensions }, () => prng.next() * 2 - 1);
}
