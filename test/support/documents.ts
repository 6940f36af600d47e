/** Documents as readers use them: their programs are run in order, and what they print is held to what stands below. */
import { type ExecFileSyncOptionsWithStringEncoding, execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));

/** ```sh or ```js, what to run, and perhaps ```text behind it, what it prints. */
const BLOCKS = /^```(sh|js)\n(.*?)^```\n(?:\n*^```text\n(.*?)^```\n)?/gms;
/** What differs from machine to machine: times, speeds, sizes, the kernel, ids of stores, and so the width of columns. */
const VARIES = [
  [/\d+(?:\.\d+)? (?:m?s|min)\b/g, "TIME"],
  [/\d[\d,]*\/s\b/g, "SPEED"],
  [/\d+(?:\.\d+)? (?:[KMG]i)?B\b/g, "SIZE"],
  [/\b(?:scalar|avx2|avx512|neon)\b/g, "KERNEL"],
  [/\b[0-9a-f]{32}(?:[0-9a-f]{32})?\b/g, "HEX"],
  [/[ \t]+/g, " "],
] as const;

const masked = (text: string): string =>
  VARIES.reduce((done, [pattern, word]) => done.replaceAll(pattern, word), text.trimEnd());

/** A folder in which "hebb" is installed: `import`, `npx hebb` and `npm install hebb` work, and nothing is downloaded. */
export function installedIn(folder: string): void {
  mkdirSync(join(folder, "node_modules", ".bin"), { recursive: true });
  symlinkSync(root, join(folder, "node_modules", "hebb"), "dir");
  const program = join(root, "dist", "src", "cli", "main.js");
  const tools = {
    npx: `[ "$1" = hebb ] || exit 127\nshift\nexec "${process.execPath}" "${program}" "$@"`,
    npm: '[ "$*" = "install hebb" ] || exit 127',
  };
  for (const [name, script] of Object.entries(tools)) {
    writeFileSync(join(folder, "node_modules", ".bin", name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
}

function run(language: string, program: string, folder: string): string {
  const env = { ...process.env, PATH: `${join(folder, "node_modules", ".bin")}:${process.env.PATH}`, NO_COLOR: "1" };
  const options: ExecFileSyncOptionsWithStringEncoding = { cwd: folder, env, encoding: "utf8", stdio: "pipe" };
  if (language === "sh") return execFileSync("bash", ["-euc", program], options);
  writeFileSync(join(folder, "program.mjs"), program);
  return execFileSync(process.execPath, ["program.mjs"], options);
}

/**
 * Runs the programs of a document in a folder, and returns it with what they printed: the same text, unless one of them
 * printed something else than it says.
 */
export function replay(markdown: string, folder: string): string {
  return markdown.replaceAll(BLOCKS, (whole, language: string, program: string, said = "") => {
    const printed = run(language, program, folder);
    if (masked(printed) === masked(said)) return whole;
    return `\`\`\`${language}\n${program}\`\`\`\n\n\`\`\`text\n${printed.trimEnd()}\n\`\`\`\n`;
  });
}
