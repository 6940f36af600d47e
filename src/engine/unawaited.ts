/** What is said where `await` was forgotten before `open`. */
import { Index } from "./hebb-index.js";

/** Members that each index has of its own, so that the prototype does not name them. */
const FIELDS = ["gradients", "thoughts", "symbols"] as const satisfies readonly (keyof Index)[];

const MEMBERS: PropertyDescriptorMap = Object.fromEntries(
  [...Object.getOwnPropertyNames(Index.prototype), ...FIELDS]
    .filter((name) => !(name in Promise.prototype))
    .map((name) => [
      name,
      {
        get(): never {
          throw new TypeError(`index.${name}: the index is still a promise; write "const index = await open(...)"`);
        },
      },
    ]),
);

/**
 * The same promise, on which every member of an index is an error that names the next step. None of them is enumerable, so
 * that who prints the promise, or copies it, does not come upon the error.
 */
export function tellingUnawaited(promise: Promise<Index>): Promise<Index> {
  return Object.defineProperties(promise, MEMBERS);
}
