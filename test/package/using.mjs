// What a stranger does with an installed package: the README's program, types, the examples, the command.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { checkout } from "./packing.mjs";
import { expect, output, step } from "./step.mjs";

const tool = (...path) => join(checkout, "node_modules", ...path);

const CONSUMER = `
import { type ErrorCode, type Hit, HebbError, open, openFrozen } from "hebb";
const index = await open("./types.hebb", { dimensions: 3, metric: "cosine" });
await index.put("a", [1, 0, 0], { price: 80 });
const hits: Hit[] = index.search(new Float32Array(3), { k: 1, filter: { price: { $lt: 50 } } });
const score: number | undefined = hits[0]?.score;
// @ts-expect-error: there is no such option, which shows that the types are there
index.search([1, 0, 0], { neighbours: 3 });
const code: ErrorCode | undefined = score === undefined ? undefined : "INDEX_CLOSED";
export { code, HebbError, openFrozen };
`;

export async function useTests(consumer) {
  const node = (...args) => output(process.execPath, args, { cwd: consumer });
  const [, program, printed] = /```js\n(.*?)```\s*```text\n(.*?)```/s.exec(
    readFileSync(join(checkout, "README.md"), "utf8"),
  );
  const runTwice = async (file) => {
    for (const time of ["first", "second"]) {
      const said = await node(file);
      expect(said === printed, `the ${time} run printed:\n${said}instead of:\n${printed}`);
    }
  };

  await step("the README's program by import, on a new store and on the one it left", () => {
    writeFileSync(join(consumer, "by-import.mjs"), program);
    return runTwice("by-import.mjs");
  });
  await step("the README's program by require", () => {
    const [imported] = /^import (\{.*?\}) from "hebb";$/m.exec(program);
    const required = imported.replace(/^import (.*) from "hebb";$/, 'const $1 = require("hebb");');
    const body = program.replace(imported, "").replaceAll(/"\.\/(\w+)\.hebb"/g, '"./$1-required.hebb"');
    writeFileSync(join(consumer, "by-require.cjs"), `${required}\n(async () => {${body}})();\n`);
    return runTwice("by-require.cjs");
  });

  // What a TypeScript project brings itself.
  mkdirSync(join(consumer, "node_modules/@types"), { recursive: true });
  const types = join(consumer, "node_modules/@types/node");
  if (!existsSync(types)) symlinkSync(tool("@types/node"), types, "dir");
  for (const [moduleResolution, module] of [
    ["nodenext", "nodenext"],
    ["bundler", "esnext"],
  ]) {
    await step(`types under ${moduleResolution}`, async () => {
      const file = `consumer-${moduleResolution}.mts`;
      writeFileSync(join(consumer, file), CONSUMER);
      const options = ["--noEmit", "--strict", "--target", "es2022", "--types", "node"];
      await node(
        tool("typescript/bin/tsc"),
        ...options,
        "--module",
        module,
        "--moduleResolution",
        moduleResolution,
        file,
      );
    });
  }

  await step("the command", async () => {
    const { version } = JSON.parse(readFileSync(join(checkout, "package.json"), "utf8"));
    const said = await output(join(consumer, "node_modules/.bin/hebb"), ["--version"], { cwd: consumer });
    expect(said.trim() === version, `hebb --version printed ${said}`);
  });

  const examples = join(consumer, "examples");
  // Without the tsconfig.json that checks them, which belongs to the checkout.
  cpSync(join(checkout, "examples"), examples, { recursive: true, filter: (path) => !path.endsWith("tsconfig.json") });
  for (const name of readdirSync(examples).filter((file) => /\.(ts|mjs)$/.test(file))) {
    await step(`examples/${name}`, async () => {
      const said = await node("--import", pathToFileURL(tool("tsx/dist/loader.mjs")).href, join("examples", name));
      expect(said.trim() !== "", "it printed nothing");
    });
  }
}
