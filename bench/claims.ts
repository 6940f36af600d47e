/** What a run claims, whether it holds, and by how much a target is met or missed. */

/** Something a run claims: a correctness that must hold, or a figure the project aims at. */
export interface Claim {
  name: string;
  /** `assertion`: the run fails without it. `target`: reported, and depends on the machine. */
  kind: "assertion" | "target";
  holds: boolean;
  figure: string;
  /** Of a target that is one number: what was measured and what was wanted. */
  measured?: number;
  wanted?: number;
  /** By which share of what was wanted it is better; below 0 it is missed. */
  by?: number;
}

type Show = (value: number) => string;

/** A target that larger figures meet; an undefined one (a curve that does not get there) misses it. */
export const atLeast = (name: string, measured: number | undefined, wanted: number, show: Show): Claim =>
  target(`${name} >= ${show(wanted)}`, measured, wanted, show, (value) => value / wanted - 1);

/** A target that smaller figures meet. */
export const atMost = (name: string, measured: number | undefined, wanted: number, show: Show): Claim =>
  target(`${name} <= ${show(wanted)}`, measured, wanted, show, (value) => 1 - value / wanted);

function target(
  name: string,
  measured: number | undefined,
  wanted: number,
  show: Show,
  better: (measured: number) => number,
): Claim {
  if (measured === undefined) return { name, kind: "target", holds: false, figure: "not reached", wanted };
  const by = better(measured);
  const percent = `${(Math.abs(by) * 100).toFixed(1)}% ${by >= 0 ? "better" : "short"}`;
  return { name, kind: "target", holds: by >= 0, figure: `${show(measured)}, ${percent}`, measured, wanted, by };
}

/** Prints the claims, and says whether every assertion holds. */
export function printClaims(claims: readonly Claim[]): boolean {
  for (const { name, kind, holds, figure } of claims) {
    const word = holds ? "ok   " : kind === "assertion" ? "FAIL " : "short";
    console.log(`${word} ${name}: ${figure}`);
  }
  return claims.every(({ kind, holds }) => holds || kind === "target");
}
