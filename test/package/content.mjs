// What travels, by a list of what may; and what two linters of packages say.
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { kernelSources } from "../../packing/sources.mjs";
import { checkout } from "./packing.mjs";
import { expect, output, step } from "./step.mjs";

const ALLOWED = [
  /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|binding\.gyp|config\.toml)$/,
  /^docs\/(?!packing\.md$)(concepts\/)?[a-z-]+\.md$/,
  /^dist\/(base|model|native|src|storage|training)\/([a-z0-9-]+\/)*[a-z0-9-]+\.(js|d\.ts)$/,
  /^native\/(install\.mjs|([a-z0-9-]+\/)*[a-z0-9-]+\.(cpp|hpp|inl))$/,
  /^prebuilds\/(linux-(x64|arm64)\/hebb\.(glibc|musl)|darwin-(x64|arm64)\/hebb)\.node$/,
];
const MAX_PACKED_BYTES = 5_000_000;

export async function contentTests(tarball) {
  const listed = (await output("tar", ["-tzf", tarball])).trim().split("\n");
  const files = listed.map((name) => name.replace(/^package\//, ""));

  await step("it holds what it should and nothing else", () => {
    const odd = files.filter((name) => !ALLOWED.some((allowed) => allowed.test(name)));
    expect(odd.length === 0, `not on the list in test/package/content.mjs: ${odd.join(", ")}`);
    const orphans = files.filter(
      (name) => name.startsWith("dist/") && !existsSync(join(checkout, name.slice(5).replace(/\.(js|d\.ts)$/, ".ts"))),
    );
    expect(orphans.length === 0, `no source for ${orphans.join(", ")}`);
    const absent = [
      ...kernelSources(),
      "native/install.mjs",
      "config.toml",
      "LICENSE",
      "docs/operating.md",
      "docs/concepts/searching.md",
    ].filter((name) => !files.includes(name));
    expect(absent.length === 0, `missing: ${absent.join(", ")}`);
    expect(
      files.some((name) => name.startsWith(`prebuilds/${process.platform}-${process.arch}/`)),
      "no kernel for this machine",
    );
    const packedBytes = statSync(tarball).size;
    expect(packedBytes <= MAX_PACKED_BYTES, `${packedBytes} bytes packed; expected at most ${MAX_PACKED_BYTES}`);
    return `${files.length} files, ${packedBytes} bytes packed`;
  });

  const tool = (name, path) => join(checkout, "node_modules", name, path);
  await step("publint", async () => {
    const said = await output(process.execPath, [tool("publint", "src/cli.js"), "run", tarball, "--strict"]);
    expect(/All good/.test(said), said);
  });
  await step("are the types wrong? (esm-only)", async () => {
    await output(process.execPath, [tool("@arethetypeswrong/cli", "dist/index.js"), tarball, "--profile", "esm-only"]);
  });
}
