/** What encoding and decoding cost on one thread, and training: by a small program over the kernel's own sources. */
import { execFile, spawnSync } from "node:child_process";
import { readdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Tier } from "../../base/types.js";
import { atLeast, atMost, type Claim } from "../claims.js";
import { loadAnn, UsageError } from "../data.js";
import { sheetVectors } from "../generate.js";
import { CHECKOUT } from "../record.js";
import { count, table } from "../table.js";
import type { TiersOptions } from "./options.js";
import { withFolder } from "./stores.js";

/** Medians on one thread, in microseconds a vector. */
export interface CodecFigures {
  codec: string;
  encodeUs: number;
  decodeUs: number;
  distanceUs: number;
}

type Figures = { [tier in Tier]?: CodecFigures };

export interface CodecsResult {
  compiler: string;
  /** On the data's own rows, and on generated ones of 1,024 dimensions. */
  sets: { data: string; dimensions: number; tiers: Figures }[];
  /** Seconds for 100,000 x 128. */
  training: { oneThread: number; allThreads: number };
}

/** Microseconds at 1,024 dimensions. */
const DECODE_TARGETS: { [tier in Tier]?: { us: number; what: string } } = {
  warm: { us: 0.1, what: "fp16" },
  cool: { us: 2, what: "8-bit codes" },
  cold: { us: 1, what: "4-bit codes" },
  archive: { us: 0.3, what: "binary" },
};
const ROWS = 4000;

/** As binding.gyp compiles the kernel. */
const FLAGS = ["-std=c++20", "-O3", "-fno-exceptions", "-fno-rtti", "-ffp-contract=off", "-Wno-psabi"];
const INCLUDES = ["-Inative/include", "-Inative"];
const OWN_FLAGS: { [source: string]: readonly string[] | undefined } =
  process.arch === "x64"
    ? {
        "native/simd/avx2.cpp": ["-mavx2", "-mfma", "-mf16c", "-msse4.2", "-mpopcnt"],
        "native/simd/avx512.cpp": [
          ...["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"],
          ...["-mfma", "-msse4.2", "-mpopcnt", "-mprefer-vector-width=512"],
        ],
      }
    : { "native/simd/neon.cpp": ["-march=armv8-a+crc"] };

export async function measureCodecs(options: TiersOptions, claims: Claim[]): Promise<CodecsResult | undefined> {
  const compiler = process.env.CXX ?? "c++";
  if (spawnSync(compiler, ["--version"], { stdio: "ignore" }).status !== 0) {
    throw new UsageError(
      `part codecs compiles a program, and there is no ${compiler}; set CXX, or leave it out: --only`,
    );
  }
  return withFolder(async (folder) => {
    const program = await compile(compiler, folder);
    const run = (what: string, rows: Float32Array, d: number): unknown => {
      const file = join(folder, "rows.f32");
      writeFileSync(file, new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength));
      const { status, stdout, stderr } = spawnSync(program, [what, file, String(d)], { encoding: "utf8" });
      if (status !== 0) throw new Error(`${program} ${what}: ${stderr}`);
      return JSON.parse(stdout);
    };
    const stored = loadAnn({ ...options.sets[0], base: ROWS, queries: 1, k: 1 });
    const generated = sheetVectors(ROWS, 1024, 1);
    const result: CodecsResult = {
      compiler,
      sets: [
        { data: stored.name, dimensions: stored.d, tiers: run("tiers", stored.base, stored.d) as Figures },
        { data: "generated", dimensions: 1024, tiers: run("tiers", generated, 1024) as Figures },
      ],
      training: run("train", sheetVectors(100_000, 128, 1), 128) as CodecsResult["training"],
    };
    report(result, claims);
    return result;
  });
}

async function compile(compiler: string, folder: string): Promise<string> {
  const sources = ["native/quantize", "native/simd"]
    .flatMap((from) => readdirSync(join(CHECKOUT, from)).map((name) => `${from}/${name}`))
    .filter((name) => name.endsWith(".cpp"))
    .concat("bench/tiers/codecs.cpp");
  const call = (...args: string[]) => promisify(execFile)(compiler, args, { cwd: CHECKOUT });
  const objectOf = (source: string) => join(folder, `${source.replaceAll("/", "-")}.o`);
  const waiting = [...sources];
  const work = async () => {
    for (let source = waiting.shift(); source !== undefined; source = waiting.shift()) {
      await call(...FLAGS, ...INCLUDES, ...(OWN_FLAGS[source] ?? []), "-c", source, "-o", objectOf(source));
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  const program = join(folder, "codecs");
  await call(...sources.map(objectOf), "-pthread", "-o", program);
  return program;
}

function report({ sets, training }: CodecsResult, claims: Claim[]): void {
  const us = (value: number) => `${value.toFixed(value < 10 ? 3 : 1)} us`;
  const lines = sets.flatMap(({ data, dimensions, tiers }) =>
    Object.entries(tiers).map(([tier, figures]) => [
      `${data}, ${dimensions} dimensions`,
      tier,
      figures.codec,
      count(1e6 / figures.encodeUs),
      us(figures.decodeUs),
      us(figures.distanceUs),
    ]),
  );
  console.log("\none thread, medians");
  console.log(table(["rows", "tier", "codec", "encode/s", "decode", "distance"], lines));
  console.log(
    `training a codebook on 100,000 x 128: ${training.allThreads.toFixed(2)} s on all cores, ${training.oneThread.toFixed(2)} s on one`,
  );
  for (const { data, dimensions, tiers } of sets) {
    for (const [tier, { encodeUs, decodeUs }] of Object.entries(tiers)) {
      const name = `${data} ${tier}:`;
      if (dimensions !== 1024) {
        claims.push(atLeast(`${name} vectors encoded/s on one core`, 1e6 / encodeUs, 10_000, count));
        continue;
      }
      const target = DECODE_TARGETS[tier as Tier]!;
      claims.push(atMost(`${name} decoding ${target.what}`, decodeUs, target.us, us));
    }
  }
  claims.push(
    atMost("codebook of 100,000 x 128, all cores", training.allThreads, 1, (value) => `${value.toFixed(2)} s`),
  );
}
