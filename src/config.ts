/**
 * Settings: what config.toml may say, with defaults and ranges. The file at the root of the
 * package documents every key; a test holds the two together, key by key.
 *
 * Nothing is ignored in silence: an unknown key is an error that names the nearest valid one, and
 * a key whose part does not exist yet is validated like any other and listed in `notBuilt` when
 * it is set to something else than its default.
 */
import { readFileSync } from "node:fs";
import { parse } from "smol-toml";
import { z } from "zod";
import { HebbError, nearest, reasonOf } from "../base/errors.js";
import { DURABILITIES } from "../base/types.js";
import { GRAPH_PROFILES } from "../native/layout.js";
import { OPTIMIZERS } from "../training/optimizer.js";
import { LEARNING_DEFAULTS as LEARNED } from "../training/options.js";

/** One setting. `expects` is the range in words, as error messages and config.toml give it. */
interface Key<T> {
  readonly schema: z.ZodType<T>;
  readonly default: T;
  readonly expects: string;
  /** False while the part that the key steers does not exist. */
  readonly built: boolean;
}

const words = (n: number): string => n.toLocaleString("en-US", { maximumFractionDigits: 12 });

const integer = (value: number, low: number, high: number): Key<number> => ({
  schema: z.int().min(low).max(high),
  default: value,
  expects: `an integer from ${words(low)} to ${words(high)}`,
  built: true,
});

/** A finite number in (above, high]. */
const positive = (value: number, high: number, above = 0): Key<number> => ({
  schema: z.number().gt(above).max(high),
  default: value,
  expects: `a number above ${words(above)}, at most ${words(high)}`,
  built: true,
});

/** A finite number in [0, below). */
const fraction = (value: number, below = 1): Key<number> => ({
  schema: z.number().min(0).lt(below),
  default: value,
  expects: `a number from 0 to below ${words(below)}`,
  built: true,
});

/** A finite number in (0, 1). */
const frequency = (value: number): Key<number> => ({
  schema: z.number().gt(0).lt(1),
  default: value,
  expects: "a number above 0, below 1",
  built: true,
});

/** A finite number in [low, high]. */
const between = (value: number, low: number, high: number): Key<number> => ({
  schema: z.number().min(low).max(high),
  default: value,
  expects: `a number from ${words(low)} to ${words(high)}`,
  built: true,
});

const flag = (value: boolean): Key<boolean> => ({
  schema: z.boolean(),
  default: value,
  expects: "true or false",
  built: true,
});

const oneOf = <const T extends string>(value: T, values: readonly T[]): Key<T> => ({
  schema: z.custom<T>((given) => (values as readonly unknown[]).includes(given)),
  default: value,
  expects: `one of ${values.map((v) => `"${v}"`).join(", ")}`,
  built: true,
});

const powerOfTwo = (value: number, low: number, high: number): Key<number> => ({
  schema: z
    .int()
    .min(low)
    .max(high)
    .refine((n) => (n & (n - 1)) === 0),
  default: value,
  expects: `a power of two from ${words(low)} to ${words(high)}`,
  built: true,
});

const path = (value: string): Key<string> => ({
  schema: z.string().min(1),
  default: value,
  expects: "a path that is not empty",
  built: true,
});

/** A key that has no fixed default because the value follows from others. */
const derived = (key: Key<number>): Key<number | undefined> => ({
  ...key,
  schema: key.schema.optional(),
  default: undefined,
});

/** Marks a key whose part does not exist yet. */
const notBuilt = <T>(key: Key<T>): Key<T> => ({ ...key, built: false });

/** Every section and key. Meaning, unit and the effect of each are in config.toml. */
const KEYS = {
  ruvector: {
    embedding_dim: integer(1024, 1, 65536),
    max_nodes: integer(100_000_000, 1, 2_147_483_646),
    hnsw_m: integer(32, 2, 128),
    hnsw_ef_construction: integer(200, 1, 4096),
    hnsw_ef_search: integer(64, 1, 4096),
    hnsw_ml: derived(positive(1, 2)),
    graph_profile: oneOf("turbo", GRAPH_PROFILES),
    search_stop: oneOf("ef", ["ef", "adaptive"]),
    search_stop_margin: between(0.1, 0, 10),
    propagation: oneOf("attention", ["attention", "linear"]),
    gnn_layers: integer(3, 1, 8),
    gnn_hidden_dim: integer(512, 1, 4096),
    gnn_heads: integer(8, 1, 64),
    gnn_dropout: fraction(0.1),
    hierarchical: flag(false),
    mmap_path: notBuilt(path("/data/ruvector.mmap")),
    page_size: notBuilt(powerOfTwo(4096, 4096, 65536)),
    flush_interval_ms: integer(1000, 1, 600_000),
    prefetch_depth: integer(0, 0, 8),
    optimizer: oneOf("adamw", OPTIMIZERS),
    learning_rate: positive(0.001, 1),
    temperature: between(LEARNED.temperature, 0.01, 10),
    batch_size: integer(LEARNED.batchPairs, 1, 65536),
    negative_samples: integer(LEARNED.negatives, 1, 65536),
    local_steps: integer(LEARNED.localSteps, 0, 100),
    propagate_updates: flag(LEARNED.propagateUpdates),
  },
  tensor_compress: {
    hot_threshold: frequency(0.8),
    warm_threshold: frequency(0.4),
    cool_threshold: frequency(0.1),
    cold_threshold: frequency(0.01),
    memory_budget: between(0, 0, 2 ** 50),
    semantic_tiering: flag(false),
    pq_subvectors: integer(8, 1, 65536),
    pq8_centroids: integer(256, 2, 256),
    pq4_centroids: integer(16, 2, 16),
    outlier_threshold: positive(2.5, 10),
    entropy_coder: oneOf("ans", ["ans", "huffman", "none"]),
    residual_bits: integer(4, 0, 8),
    recompress_interval_s: integer(300, 1, 604_800),
    access_decay_halflife_s: integer(3600, 1, 31_536_000),
    promotion_threshold: positive(1.5, 100, 1),
    demotion_threshold: fraction(0.5),
    decompress_cache_size_mb: integer(512, 0, 1_048_576),
    prefetch_neighbors: flag(true),
    codebook_sample_size: integer(100_000, 256, 10_000_000),
    codebook_iterations: integer(20, 1, 1000),
    codebook_update_freq: integer(10_000, 1, 1_000_000_000),
  },
  storage: {
    durability: oneOf("sync", DURABILITIES),
    checkpoint_wal_mb: integer(64, 1, 65536),
    checkpoint_dirty_mb: integer(256, 1, 1_048_576),
    keep_originals: flag(true),
    safe_reads: flag(false),
  },
  learning: {
    decoupled: flag(LEARNED.decoupled),
    rank: integer(LEARNED.rank, 1, 4096),
    adapter_rate: positive(LEARNED.adapterRate, 1),
    adapter_decay: between(LEARNED.adapterDecay, 0, 1000),
    adapter_epochs: integer(LEARNED.adapterEpochs, 1, 1000),
    shift_rate: positive(LEARNED.shiftRate, 1),
    shift_bound: between(LEARNED.shiftBound, 0, 2),
    shift_epochs: integer(LEARNED.shiftEpochs, 1, 1000),
    confidence: between(LEARNED.confidence, 0, 10),
    disjoint_tolerance: between(LEARNED.disjointTolerance, 0, 1),
    disjoint_confidence: between(LEARNED.disjointConfidence, 0, 10),
    window: integer(LEARNED.window, 1, 1_000_000),
    minimum_events: integer(LEARNED.minimumEvents, 2, 1_000_000),
    source_share: positive(LEARNED.sourceShare, 1),
    position_bias: between(LEARNED.positionBias, 0, 3),
    self_supervision: fraction(0.1),
    edge_half_life: integer(LEARNED.edgeHalfLife, 1, 1_000_000_000),
    replay: integer(LEARNED.replay, 1, 10_000_000),
  },
  text: {},
} as const satisfies Record<string, Record<string, Key<unknown>>>;

type Sections = typeof KEYS;
type SectionValues<S> = { readonly [K in keyof S]: S[K] extends Key<infer T> ? T : never };

/** The values of every section, `hnsw_ml` undefined where it is to follow from `hnsw_m`. */
export type ConfigValues = { readonly [S in keyof Sections]: SectionValues<Sections[S]> };

/** What a caller may pass as `config`: any part of it. */
export type ConfigInput = { readonly [S in keyof Sections]?: Partial<SectionValues<Sections[S]>> };

/** Validated settings. Made by `loadConfig`. */
export class Config implements ConfigValues {
  readonly ruvector: ConfigValues["ruvector"];
  readonly tensor_compress: ConfigValues["tensor_compress"];
  readonly storage: ConfigValues["storage"];
  readonly learning: ConfigValues["learning"];
  readonly text: ConfigValues["text"];

  /** @param source what errors call it: a file's path, or "config" */
  constructor(
    values: ConfigValues,
    /** Full names of the keys that were given, such as `ruvector.hnsw_m`; the others have their defaults. */
    readonly given: ReadonlySet<string>,
    private readonly source: string,
  ) {
    this.ruvector = values.ruvector;
    this.tensor_compress = values.tensor_compress;
    this.storage = values.storage;
    this.learning = values.learning;
    this.text = values.text;
  }

  /**
   * Factor m_L of the level drawn for a new node (Malkov & Yashunin 2018, section 4.1): `hnsw_ml`, by default
   * 1/ln(hnsw_m).
   */
  get levelMultiplier(): number {
    return this.ruvector.hnsw_ml ?? 1 / Math.log(this.ruvector.hnsw_m);
  }

  /**
   * Keys set to something else than their default though the part they steer is not built yet.
   * They have no effect; who opened the store should be told.
   */
  get notBuilt(): string[] {
    return keyNames().filter((name) => {
      const key = keyOf(name);
      return !key.built && this.given.has(name) && valueAt(this, name) !== key.default;
    });
  }

  /**
   * Refuses an `embedding_dim` that was given and contradicts the store's dimensions. The default of
   * 1024 contradicts nothing.
   * @throws {HebbError} CONFIG_INVALID
   */
  checkAgainst({ dimensions }: { dimensions: number }): void {
    const { embedding_dim } = this.ruvector;
    if (this.given.has("ruvector.embedding_dim") && embedding_dim !== dimensions) {
      throw invalid(
        this.source,
        `ruvector.embedding_dim is ${embedding_dim}, but the store's dimensions are ${dimensions}; make them equal or leave the key out`,
      );
    }
  }
}

/** Full names of all keys, in the order of config.toml: `ruvector.embedding_dim`, ... */
export function keyNames(): string[] {
  return Object.entries(KEYS).flatMap(([section, keys]) => Object.keys(keys).map((key) => `${section}.${key}`));
}

/** What is known of a key: its default, its range in words, and whether its part exists. */
export function describeKey(name: string): { default: unknown; expects: string; built: boolean } {
  const { default: value, expects, built } = keyOf(name);
  return { default: value, expects, built };
}

/**
 * Settings from a file, from an object, or all defaults. No file is looked for: what is not given is not read.
 *
 * @param config the path of a TOML file laid out like config.toml, or a partial object such as
 *   `{ ruvector: { hnsw_m: 16 } }`; keys left out have their defaults
 * @throws {HebbError} CONFIG_INVALID: the file cannot be read or parsed, a section or key is
 *   unknown (the nearest one is named), or a value is out of range (name, value and range are named)
 * @throws {TypeError} where `config` is neither a path nor an object
 */
export function loadConfig(config?: string | ConfigInput): Config {
  if (config === undefined) return readSections({}, "config");
  if (typeof config === "string") return readSections(readToml(config), config);
  if (!isTable(config)) {
    throw new TypeError(`config is ${show(config)}; expected the path of a TOML file or an object of sections`);
  }
  return readSections(config, "config");
}

function readSections(tables: Record<string, unknown>, source: string): Config {
  const given = new Set<string>();
  for (const [section, table] of Object.entries(tables)) {
    if (table === undefined) continue;
    const keys: Record<string, Key<unknown>> | undefined = Object.hasOwn(KEYS, section)
      ? KEYS[section as keyof Sections]
      : undefined;
    if (keys === undefined) throw unknownSection(section, source);
    if (!isTable(table)) throw invalid(source, `${section} is ${show(table)}; expected a section with keys`);
    for (const [name, value] of Object.entries(table)) {
      if (value === undefined) continue;
      const full = `${section}.${name}`;
      const key = Object.hasOwn(keys, name) ? keys[name] : undefined;
      if (key === undefined) {
        throw invalid(source, `unknown key ${full}; did you mean ${nearest(full, keyNames())}?`);
      }
      if (!key.schema.safeParse(value).success) {
        throw invalid(source, `${full} is ${show(value)}; expected ${key.expects}`);
      }
      given.add(full);
    }
  }
  const values = Object.fromEntries(
    Object.entries(KEYS).map(([section, keys]) => {
      const table = (tables[section] ?? {}) as Record<string, unknown>;
      const read = ([name, key]: [string, Key<unknown>]) => [
        name,
        given.has(`${section}.${name}`) ? table[name] : key.default,
      ];
      return [section, Object.fromEntries(Object.entries(keys).map(read))];
    }),
  );
  // Each value was checked against the schema its type comes from.
  const result = new Config(values as unknown as ConfigValues, given, source);
  checkTogether(result, source);
  return result;
}

/** Conditions between keys. */
function checkTogether({ ruvector, tensor_compress, learning }: ConfigValues, source: string): void {
  const falling = ["hot_threshold", "warm_threshold", "cool_threshold", "cold_threshold"] as const;
  for (let i = 1; i < falling.length; i++) {
    const [above, below] = [falling[i - 1]!, falling[i]!];
    if (tensor_compress[below] >= tensor_compress[above]) {
      throw invalid(
        source,
        `tensor_compress.${below} is ${tensor_compress[below]}; expected less than tensor_compress.${above}, which is ${tensor_compress[above]}`,
      );
    }
  }
  if (tensor_compress.memory_budget > 0 && tensor_compress.demotion_threshold === 0) {
    throw invalid(
      source,
      "tensor_compress.demotion_threshold is 0; expected more where tensor_compress.memory_budget is set, since nothing would ever be demoted",
    );
  }
  if (ruvector.gnn_hidden_dim % ruvector.gnn_heads !== 0) {
    throw invalid(
      source,
      `ruvector.gnn_hidden_dim is ${ruvector.gnn_hidden_dim}; expected a multiple of ruvector.gnn_heads, which is ${ruvector.gnn_heads}`,
    );
  }
  if (learning.window < learning.minimum_events) {
    throw invalid(
      source,
      `learning.window is ${learning.window}; expected at least learning.minimum_events, which is ${learning.minimum_events}: no gate would ever open`,
    );
  }
}

function readToml(file: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new HebbError("CONFIG_INVALID", `${file} cannot be read: ${message(cause)}`, { source: file }, cause);
  }
  try {
    return parse(text);
  } catch (cause) {
    throw new HebbError("CONFIG_INVALID", `${file} is not TOML: ${message(cause)}`, { source: file }, cause);
  }
}

/** A key of the wrong section is the commoner mistake: `{ hnsw_m: 16 }` for `{ ruvector: { hnsw_m: 16 } }`. */
function unknownSection(section: string, source: string): HebbError {
  const home = keyNames().find((name) => name.endsWith(`.${section}`));
  if (home !== undefined) return invalid(source, `${section} stands outside its section; expected ${home}`);
  return invalid(source, `unknown section ${section}; did you mean ${nearest(section, Object.keys(KEYS))}?`);
}

function keyOf(name: string): Key<unknown> {
  const [section, key] = name.split(".") as [keyof Sections, string];
  return (KEYS[section] as Record<string, Key<unknown>>)[key]!;
}

function valueAt(values: ConfigValues, name: string): unknown {
  const [section, key] = name.split(".") as [keyof Sections, string];
  return (values[section] as Record<string, unknown>)[key];
}

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);

const show = (value: unknown): string =>
  typeof value === "number" || typeof value === "bigint" ? String(value) : (JSON.stringify(value) ?? String(value));

/** smol-toml's messages carry an excerpt on further lines; the first line names the fault and its place. */
const message = (cause: unknown): string => reasonOf(cause).split("\n")[0]!;

const invalid = (source: string, text: string): HebbError =>
  new HebbError("CONFIG_INVALID", source === "config" ? text : `${source}: ${text}`, { source });
