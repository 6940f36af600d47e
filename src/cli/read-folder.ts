/** Folders of text: each text or markdown file below is one entry. */
import { readdir, readFile } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import type { Entry } from "../index.js";

/** Endings of the files that are taken for text. */
export const TEXT_ENDINGS = [".md", ".markdown", ".txt", ".text", ".rst"] as const;
const TITLE_CHARACTERS = 120;

/** Whether a file is taken for text, by its name. */
export const isTextFile = (name: string): boolean =>
  (TEXT_ENDINGS as readonly string[]).includes(extname(name).toLowerCase());

/**
 * Paths of the text files below a folder, relative to it with "/" between parts, sorted. Names that
 * begin with a dot and folders called node_modules are passed over; links are not followed.
 */
export async function textFilesBelow(folder: string): Promise<string[]> {
  const found: string[] = [];
  const walk = async (below: string): Promise<void> => {
    for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
      if (entry.name.startsWith(".") || entry.name === "node_modules") continue;
      const path = below === "" ? entry.name : `${below}/${entry.name}`;
      if (entry.isDirectory()) await walk(path);
      else if (entry.isFile() && isTextFile(entry.name)) found.push(path);
    }
  };
  await walk("");
  return found.sort();
}

/**
 * The entry of a text file: id and `path` are the path given, `title` its first heading or line.
 * @returns undefined where the file holds no text: no letters or digits, or zero bytes as in binary files
 */
export async function readTextFile(folder: string, path: string): Promise<Entry | undefined> {
  const text = new TextDecoder("utf-8").decode(await readFile(join(folder, path)));
  if (text.includes("\0") || !/[\p{L}\p{N}]/u.test(text)) return undefined;
  return { id: path, text, payload: { text, path, title: titleOf(text, path) } };
}

/**
 * The first markdown heading, else the first line, with a letter or digit left once markup is gone; else the file's
 * name.
 */
export function titleOf(text: string, path: string): string {
  const lines = text.split("\n");
  const headings = lines.filter((line) => /^#{1,6}\s/.test(line));
  const title = [...headings, ...lines].map(withoutMarkup).find((line) => /[\p{L}\p{N}]/u.test(line));
  return (title ?? basename(path)).slice(0, TITLE_CHARACTERS);
}

/** A markdown line without images, HTML tags, link targets and heading marks. */
const withoutMarkup = (line: string): string =>
  line
    .replaceAll(/!\[[^\]]*\](\([^)]*\)|\[[^\]]*\])/g, "")
    .replaceAll(/<[^>]*>/g, "")
    .replaceAll(/\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])/g, "$1")
    .replaceAll(/^#+\s*|\s*#+$|[`*_]{1,3}/g, "")
    .trim();
