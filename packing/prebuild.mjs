// `npm run prebuildify`: compiles the kernel for the machine it runs on into prebuilds/, for the package to carry.
// With --if-stale it does so only where the sources have changed since; docs/packing.md says how other platforms are made.
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { checkout, kernelDigest, kernelSources } from "./sources.mjs";

const prebuilds = join(checkout, "prebuilds");
const digest = kernelDigest();
const { glibcVersionRuntime } = process.report.getReport().header;
const libc = process.platform !== "linux" ? undefined : glibcVersionRuntime ? "glibc" : "musl";
const file = join(prebuilds, `${process.platform}-${process.arch}`, libc ? `hebb.${libc}.node` : "hebb.node");
// Beside each kernel, and not in the package: the digest of what it was compiled from.
const stampOf = (kernel) => kernel.replace(/\.node$/, ".sources");
const isFresh = (kernel) => existsSync(stampOf(kernel)) && readFileSync(stampOf(kernel), "utf8") === digest;

function run(command, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8", ...options });
  if (status !== 0) {
    process.stderr.write(`${stdout ?? ""}${stderr ?? ""}`);
    console.error(`hebb: ${command} ${args.join(" ")} failed: ${error?.message ?? `it exited with ${status}`}`);
    process.exit(1);
  }
  return stdout;
}

/** Compiles in a folder of its own, since prebuildify takes the result away from build/, where the checkout's kernel is. */
function compile() {
  const folder = mkdtempSync(join(tmpdir(), "hebb-prebuild-"));
  try {
    for (const path of ["package.json", ...kernelSources()]) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      cpSync(join(checkout, path), join(folder, path));
    }
    symlinkSync(join(checkout, "node_modules"), join(folder, "node_modules"));
    mkdirSync(dirname(file), { recursive: true });
    rmSync(file, { force: true });
    const env = { JOBS: "max", ...process.env };
    const prebuildify = join(checkout, "node_modules/prebuildify/bin.js");
    const tag = libc ? [`--tag-libc=${libc}`] : [];
    run(process.execPath, [prebuildify, "--napi", "--strip", ...tag, `--out=${checkout}`], {
      cwd: folder,
      env,
      maxBuffer: 1 << 26,
    });
    writeFileSync(stampOf(file), digest);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The newest versions of glibc and libstdc++ that the kernel asks of a system, such as "GLIBC_2.34, GLIBCXX_3.4.29". */
function needed() {
  const versions = run("objdump", ["-p", file]).match(/\bGLIBC(XX)?_[\d.]+/g) ?? [];
  const order = new Intl.Collator("en", { numeric: true });
  return ["GLIBC_", "GLIBCXX_"]
    .map((name) =>
      versions
        .filter((version) => version.startsWith(name))
        .sort(order.compare)
        .at(-1),
    )
    .filter(Boolean)
    .join(", ");
}

if (process.argv.includes("--if-stale") && existsSync(file) && isFresh(file)) {
  console.log(`hebb: ${file} is fresh`);
} else {
  compile();
  const needs = libc === "glibc" ? `, needs ${needed()} or newer` : "";
  console.log(`hebb: ${file}: ${readFileSync(file).length} bytes${needs}`);
}
const stale = readdirSync(prebuilds, { recursive: true })
  .filter((name) => name.endsWith(".node"))
  .filter((name) => !isFresh(join(prebuilds, name)));
if (stale.length > 0) {
  console.error(
    `hebb: prebuilds/${stale.join(", prebuilds/")}: not compiled from these sources (no .sources file beside it with ${digest}). ` +
      `Run "npm run prebuildify" on such a machine again and copy both files, or delete it`,
  );
  process.exit(1);
}
