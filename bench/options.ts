/** The command line: `--name value`, every one checked, with the nearest valid name where one is unknown. */
import { nearest } from "../base/errors.js";
import { UsageError } from "./data.js";

export class Options {
  private readonly given = new Map<string, string>();

  /** `flags` take no value. @throws {UsageError} for an option that is not in `names`, or lacks its value. */
  constructor(args: readonly string[], names: readonly string[], flags: readonly string[] = []) {
    for (let i = 0; i < args.length; i++) {
      const [, name, joined] = /^--([a-z][a-z-]*)(?:=(.*))?$/.exec(args[i]) ?? [];
      if (name === undefined) throw new UsageError(`"${args[i]}" is no option; options begin with --`);
      const isFlag = flags.includes(name);
      if (!isFlag && !names.includes(name)) {
        const all = [...names, ...flags];
        throw new UsageError(
          `unknown option --${name}; did you mean --${nearest(name, all)}? Valid are ${all.map((x) => `--${x}`).join(" ")}`,
        );
      }
      const value = isFlag ? "" : (joined ?? args[++i]);
      if (value === undefined || (isFlag && joined !== undefined)) {
        throw new UsageError(`--${name} takes ${isFlag ? "no value" : "a value"}`);
      }
      this.given.set(name, value);
    }
  }

  flag(name: string): boolean {
    return this.given.has(name);
  }

  text(name: string, otherwise: string): string {
    return this.given.get(name) ?? otherwise;
  }

  /** An integer from 1. */
  count(name: string, otherwise: number): number {
    const text = this.given.get(name);
    return text === undefined ? otherwise : positiveInteger(name, text);
  }

  counts(name: string, otherwise: number[]): number[] {
    const text = this.given.get(name);
    return text === undefined ? otherwise : text.split(",").map((part) => positiveInteger(name, part));
  }

  /** Comma-separated words out of `valid`; "none" is no word. */
  words<Word extends string>(name: string, valid: readonly Word[], otherwise: readonly Word[] = valid): Word[] {
    const text = this.given.get(name);
    if (text === undefined) return [...otherwise];
    if (text === "none") return [];
    return text.split(",").map((part) => {
      const word = valid.find((candidate) => candidate === part);
      if (!word) throw new UsageError(`--${name} ${part}: valid are ${valid.join(" ")}, or none`);
      return word;
    });
  }
}

function positiveInteger(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new UsageError(`--${name} ${text}: not an integer from 1`);
  return value;
}
