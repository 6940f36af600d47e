import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "smol-toml";
import { describe, expect, it } from "vitest";
import { type ConfigInput, describeKey, keyNames, loadConfig } from "../../src/config.js";

const file = new URL("../../config.toml", import.meta.url);
const text = readFileSync(file, "utf8");

/** The error that reading `config` gives. */
function refusal(config: unknown): { code: string; message: string } {
  try {
    loadConfig(config as ConfigInput);
  } catch (error) {
    return error as { code: string; message: string };
  }
  throw new Error(`accepted: ${JSON.stringify(config)}`);
}

function tomlFile(content: string): string {
  const path = join(mkdtempSync(join(tmpdir(), "hebb-config-")), "config.toml");
  writeFileSync(path, content);
  return path;
}

describe("config.toml", () => {
  it("says the defaults, key by key", () => {
    const defaults = JSON.parse(JSON.stringify(loadConfig())); // undefined keys drop out
    const { given: _given, source: _source, ...sections } = defaults;
    expect(parse(text)).toEqual(sections);
  });

  it("loads as it is, and changes nothing", () => {
    const config = loadConfig(file.pathname);
    expect(config.notBuilt).toEqual([]);
    expect(config.levelMultiplier).toBe(loadConfig().levelMultiplier);
  });

  it.each(keyNames())("documents %s: range, default, and whether it is built", (name) => {
    const key = name.split(".")[1]!;
    const lines = text.split("\n");
    const at = lines.findIndex((line) => line.startsWith(`${key} = `) || line.startsWith(`# ${key} = `));
    expect(at).toBeGreaterThan(0);
    let first = at;
    while (lines[first - 1]!.startsWith("# ")) first--;
    const comment = lines
      .slice(first, at)
      .map((line) => line.slice(2))
      .join(" ");
    const { expects, default: value, built } = describeKey(name);
    const said = value === undefined ? "Default: 1 / ln(hnsw_m)." : `Default ${JSON.stringify(value)}.`;
    expect(comment).toContain(`Range: ${expects}. ${said}`);
    expect(comment.includes("(not built yet)")).toBe(!built);
    expect(comment.length).toBeGreaterThan(`Range: ${expects}. ${said}`.length + 20);
  });
});

describe("loadConfig", () => {
  it("has the specification's defaults", () => {
    const { ruvector, tensor_compress, storage } = loadConfig();
    expect(ruvector).toMatchObject({ embedding_dim: 1024, max_nodes: 1e8, hnsw_m: 32, hnsw_ef_construction: 200 });
    expect(ruvector).toMatchObject({ hnsw_ef_search: 64, gnn_layers: 3, flush_interval_ms: 1000, temperature: 0.07 });
    expect(tensor_compress).toMatchObject({ hot_threshold: 0.8, pq_subvectors: 8, entropy_coder: "ans" });
    expect(tensor_compress.outlier_threshold).toBe(2.5);
    expect(storage).toEqual({
      durability: "sync",
      checkpoint_wal_mb: 64,
      checkpoint_dirty_mb: 256,
      keep_originals: true,
      safe_reads: false,
    });
  });

  it("takes a part, and leaves the rest at its default", () => {
    const config = loadConfig({ ruvector: { hnsw_m: 16, hnsw_ef_construction: undefined } });
    expect(config.ruvector.hnsw_m).toBe(16);
    expect(config.ruvector.hnsw_ef_construction).toBe(200);
    expect([...config.given]).toEqual(["ruvector.hnsw_m"]);
  });

  it("derives hnsw_ml from hnsw_m, and a given value wins", () => {
    expect(loadConfig().levelMultiplier).toBeCloseTo(1 / Math.log(32), 12);
    expect(loadConfig({ ruvector: { hnsw_m: 16 } }).levelMultiplier).toBeCloseTo(1 / Math.log(16), 12);
    expect(loadConfig({ ruvector: { hnsw_ml: 0.36 } }).levelMultiplier).toBe(0.36);
  });

  it("reads a file", () => {
    expect(loadConfig(tomlFile("[ruvector]\nhnsw_m = 24\n")).ruvector.hnsw_m).toBe(24);
  });

  it("lists keys that are set and steer nothing yet, and only those", () => {
    const config = loadConfig({
      ruvector: { page_size: 8192, prefetch_depth: 3, gnn_heads: 4, hnsw_m: 8 },
      storage: { keep_originals: false },
    });
    expect(config.notBuilt).toEqual(["ruvector.page_size"]);
  });

  it("refuses an embedding_dim that contradicts the store, and no other", () => {
    expect(() => loadConfig().checkAgainst({ dimensions: 16 })).not.toThrow();
    expect(() => loadConfig({ ruvector: { embedding_dim: 16 } }).checkAgainst({ dimensions: 16 })).not.toThrow();
    expect(() => loadConfig({ ruvector: { embedding_dim: 1024 } }).checkAgainst({ dimensions: 16 })).toThrow(
      /CONFIG_INVALID: ruvector\.embedding_dim is 1024.*16/,
    );
  });
});

describe("a bad config is refused with the key's full name, its value and its range", () => {
  it.each([
    [{ ruvector: { hnsw_m: 1 } }, "ruvector.hnsw_m is 1; expected an integer from 2 to 128"],
    [{ ruvector: { hnsw_m: 16.5 } }, "ruvector.hnsw_m is 16.5; expected an integer from 2 to 128"],
    [{ ruvector: { hnsw_m: "16" } }, 'ruvector.hnsw_m is "16"; expected an integer'],
    [{ ruvector: { temperature: Number.NaN } }, "ruvector.temperature is NaN; expected a number from 0.01 to 10"],
    [{ ruvector: { page_size: 5000 } }, "ruvector.page_size is 5000; expected a power of two"],
    [{ tensor_compress: { entropy_coder: "zip" } }, 'tensor_compress.entropy_coder is "zip"; expected one of "ans"'],
    [{ storage: { keep_originals: 1 } }, "storage.keep_originals is 1; expected true or false"],
    [{ ruvector: { hnsw_mm: 16 } }, "unknown key ruvector.hnsw_mm; did you mean ruvector.hnsw_m?"],
    [{ storage: { hnsw_ef_search: 16 } }, "unknown key storage.hnsw_ef_search; did you mean ruvector.hnsw_ef_search?"],
    [{ ruvector: { constructor: 1 } }, "unknown key ruvector.constructor"],
    [{ hnsw_m: 16 }, "hnsw_m stands outside its section; expected ruvector.hnsw_m"],
    [{ ruvektor: {} }, "unknown section ruvektor; did you mean ruvector?"],
    [{ ruvector: 3 }, "ruvector is 3; expected a section"],
    [{ tensor_compress: { warm_threshold: 0.9 } }, "warm_threshold is 0.9; expected less than tensor_compress.hot"],
    [{ learning: { window: 29 } }, "learning.window is 29; expected at least learning.minimum_events, which is 30"],
    [{ ruvector: { gnn_heads: 7 } }, "gnn_hidden_dim is 512; expected a multiple of ruvector.gnn_heads, which is 7"],
  ])("%j", (config, expected) => {
    const { code, message } = refusal(config);
    expect(code).toBe("CONFIG_INVALID");
    expect(message).toContain(expected);
  });

  it("names the file, and where in it", () => {
    const path = tomlFile("[ruvector]\nhnsw_m = 1\n");
    expect(refusal(path).message).toBe(
      `CONFIG_INVALID: ${path}: ruvector.hnsw_m is 1; expected an integer from 2 to 128`,
    );
    const broken = refusal(tomlFile("[ruvector\nhnsw_m = 1\n"));
    expect(broken).toMatchObject({ code: "CONFIG_INVALID", details: { source: expect.any(String) } });
    expect(broken.message).toContain("is not TOML");
    expect(refusal("/nowhere/config.toml")).toMatchObject({ code: "CONFIG_INVALID" });
    expect(refusal("/nowhere/config.toml").message).toContain("/nowhere/config.toml cannot be read: ENOENT");
  });

  it("is a TypeError where it is neither a path nor an object", () => {
    expect(() => loadConfig([] as ConfigInput)).toThrow(TypeError);
    expect(() => loadConfig(null as unknown as ConfigInput)).toThrow(/config is null/);
  });
});
