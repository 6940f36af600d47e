/** docs/commands.md, made of what the commands say of themselves. */
import { hebb } from "./cli.js";

const INTRODUCTION = `# Commands

What \`npx hebb COMMAND --help\` says; \`npx vitest run test/spec/38-docs.test.ts -u\` writes this page anew. Results go to stdout; progress, warnings and errors to stderr. \`--json\` prints the result as one line of JSON. An error is one line, \`hebb: CODE: message\`, and the exit code 1: [every code has a remedy](operating.md#errors).
`;

const block = (text: string): string => `\`\`\`text\n${text.trimEnd()}\n\`\`\``;

/** Names of the commands, in the order of the help. */
export const commandsIn = (help: string): string[] =>
  [...help.matchAll(/^ {2}(\w+) \[options\]/gm)].map(([, name]) => name);

export async function commandsText(): Promise<string> {
  const { out: all } = await hebb("--help");
  const parts = [INTRODUCTION.trimEnd(), block(all)];
  for (const name of commandsIn(all)) parts.push(`## ${name}`, block((await hebb(name, "--help")).out));
  return `${parts.join("\n\n")}\n`;
}
