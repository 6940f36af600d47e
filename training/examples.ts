/** Feedback events prepared for the loss: rows looked up once, and negatives drawn without touching a positive. */
import { bytesOf } from "../base/bytes.js";
import type { Prng } from "../base/prng.js";
import type { Seed } from "../model/edges.js";
import { relative } from "../model/scoring.js";
import type { Corpus, LearnEvent } from "./corpus.js";
import { type Reading, type Relevance, relevanceOf, UNREAD } from "./relevance.js";

/**
 * Numbers documents densely within one call, so that masks and gradients are arrays and not maps. Rows are there once
 * they are loaded: of what may be drawn as a negative, most never is.
 */
export class Pool {
  readonly nodes: number[] = [];
  readonly rows: Float32Array[] = [];
  private readonly places = new Map<number, number>();

  constructor(private readonly corpus: Corpus) {}

  add(node: number): number {
    let place = this.places.get(node);
    if (place === undefined) {
      place = this.nodes.length;
      this.places.set(node, place);
      this.nodes.push(node);
    }
    return place;
  }

  /** Fetches the rows of those places that were not fetched yet. */
  load(places: Iterable<number>): void {
    const missing: number[] = [];
    for (const place of places) if (!this.rows[place]) missing.push(place);
    this.fetch(missing);
  }

  /** Fetches the rows behind the last one that was fetched: all, where nothing else fetches any. */
  loadNew(): void {
    const from = this.rows.length;
    this.fetch(Array.from({ length: this.nodes.length - from }, (_, i) => from + i));
  }

  private fetch(missing: readonly number[]): void {
    if (missing.length === 0) return;
    const nodes = new Uint32Array(missing.length);
    for (let i = 0; i < nodes.length; i++) nodes[i] = this.nodes[missing[i]!]!;
    const rows = this.corpus.vectorsOf(nodes);
    missing.forEach((place, i) => {
      this.rows[place] = rows[i]!;
    });
  }
}

/** One event; documents are places in the pool. */
export interface Example {
  query: Float32Array;
  /** node -> how often it was chosen, for a lower grade less than once; live positives, in their order. */
  chosen: ReadonlyMap<number, number>;
  /** What nDCG is measured against; see relevance.ts. */
  gains: Relevance["gains"];
  unseen: Relevance["unseen"];
  /** Who asked, where it is one and known. */
  source: string | undefined;
  /** What the query was made from by example; empty otherwise. */
  seeds: readonly Seed[];
  /** Nodes that are no answers: what the query was made from. */
  excluded: Set<number>;
  positives: Int32Array;
  /** Weight of each positive in the loss, 1 in all: by grades, or by how much more often it was chosen than expected. */
  weights: Float32Array;
  /** Rejected, or passed over on display. */
  explicit: Int32Array;
  /** Nearest to the query by the static search, positives left out. */
  hard: Int32Array;
  excludedPlaces: Int32Array;
  /** The static search's result, best first: candidates when the event is judged. */
  near: Uint32Array;
}

/** What one step of a loss needs of a question. */
export type Asked = Pick<Example, "query" | "positives" | "weights" | "explicit" | "hard" | "excludedPlaces">;

/** More positives than this are cut to the first ones: a mean over hundreds says nothing more. */
const MOST_POSITIVES = 256;
/** Hard negatives are drawn from so many. */
export const MOST_HARD = 64;
/** Static candidates of a question: enough that ten are left of those that nobody ever chose. */
export const CANDIDATES = 128;

/**
 * @param asked the same question, every time that it was asked; what it was made from is that of the last time
 * @param found how many documents the static search is to find; 0: it is not run, and `near` and `hard` are empty
 * @returns undefined where no chosen document is live, or none was chosen more often than expected: nothing can be
 * learned or judged
 */
export function prepareExample(
  pool: Pool,
  corpus: Corpus,
  asked: readonly LearnEvent[],
  found = CANDIDATES,
  reading: Reading = UNREAD,
): Example | undefined {
  const { query, examples = [], seeds = [] } = asked.at(-1)!;
  const choices = choicesOf(corpus, asked);
  const excluded = new Set(examples.filter((node) => !choices.has(node)));
  const isOpen = (node: number) => corpus.isLive(node) && !excluded.has(node);
  const { gains, unseen, weights, passedOver } = relevanceOf(corpus, asked, choices, isOpen, reading);
  if (weights.size === 0) return undefined;
  const near = found > 0 ? corpus.nearest(query, Math.min(found, corpus.size)).nodes : new Uint32Array(0);
  const usable = (node: number) => !choices.has(node) && !excluded.has(node);
  const places = (nodes: Iterable<number>) => Int32Array.from(nodes, (node) => pool.add(node));
  const rejected = asked.flatMap((event) => event.rejected);
  return {
    query,
    chosen: new Map(Array.from(weights.keys(), (node) => [node, choices.get(node)!])),
    gains,
    unseen,
    source: asked.every((event) => event.source === asked[0]!.source) ? asked[0]!.source : undefined,
    seeds: seeds.filter(({ node }) => corpus.isLive(node)),
    excluded,
    positives: places(weights.keys()),
    weights: Float32Array.from(weights.values()),
    explicit: places(new Set([...rejected, ...passedOver].filter((node) => usable(node) && corpus.isLive(node)))),
    hard: places([...near].filter(usable).slice(0, MOST_HARD)),
    excludedPlaces: places([...excluded].filter((node) => corpus.isLive(node))),
    near,
  };
}

/** node -> how often it was chosen, where an event's best grade counts as 1 and others as a part of it; live documents. */
function choicesOf(corpus: Corpus, asked: readonly LearnEvent[]): Map<number, number> {
  const choices = new Map<number, number>();
  for (const { chosen } of asked) {
    const given = new Map<number, number>();
    for (const { node, grade } of chosen) {
      if (given.size < MOST_POSITIVES && grade > 0 && corpus.isLive(node)) given.set(node, grade);
    }
    const grades = relative([...given.values()]);
    const most = Math.max(...grades);
    for (const [i, node] of [...given.keys()].entries()) {
      if (choices.has(node) || choices.size < MOST_POSITIVES)
        choices.set(node, (choices.get(node) ?? 0) + grades[i]! / most);
    }
  }
  return choices;
}

/**
 * Events by question: those that ask the very same, all with a display or all without, are one. In the order in which each
 * was asked last. Yields after each event.
 */
export function* sameQuestions(events: readonly LearnEvent[]): Generator<void, LearnEvent[][]> {
  const byHash = new Map<number, LearnEvent[][]>();
  const questions = new Set<LearnEvent[]>();
  for (const event of events) {
    const hash = hashOf(event.query);
    const alike = byHash.get(hash) ?? [];
    byHash.set(hash, alike);
    let question = alike.find(([first]) => isSameQuestion(first!, event));
    if (!question) {
      question = [];
      alike.push(question);
    }
    question.push(event);
    questions.delete(question);
    questions.add(question);
    yield;
  }
  return [...questions];
}

function isSameQuestion(a: LearnEvent, b: LearnEvent): boolean {
  const [of, to] = [a.examples ?? [], b.examples ?? []];
  if (a.shown.length > 0 !== b.shown.length > 0 || of.length !== to.length) return false;
  return Buffer.compare(bytesOf(a.query), bytesOf(b.query)) === 0 && of.every((node, i) => node === to[i]);
}

/** FNV-1a over words (Fowler, Noll & Vo 1991). */
function hashOf({ buffer, byteOffset, length }: Float32Array): number {
  let hash = 0x811c9dc5;
  for (const word of new Uint32Array(buffer, byteOffset, length)) hash = Math.imul(hash ^ word, 0x01000193);
  return hash;
}

/**
 * Candidates of one step into `out`, their rows loaded where `isLoading`: the positives first, then up to `count`
 * negatives, each document once and none that is chosen or excluded. Explicit negatives come first (up to half),
 * then a share from the static search, the rest from `others`: distinct documents chosen for other
 * queries, drawn uniformly, so that popularity needs no correction (logQ). Documents nobody ever
 * chose are rare among the negatives on purpose: pushed away as a class, they would rank worse for
 * every query (the document-disjoint stratum of Cranfield falls below static with them).
 */
export class Sampler {
  private stamps = new Uint32Array(0);
  private stamp = 0;

  constructor(
    private readonly pool: Pool,
    private readonly prng: Prng,
  ) {}

  draw(
    example: Asked,
    others: ArrayLike<number>,
    hardShare: number,
    count: number,
    out: Int32Array,
    isLoading = true,
  ): number {
    this.begin();
    let length = 0;
    const take = (place: number) => {
      if (this.stamps[place] === this.stamp) return;
      this.stamps[place] = this.stamp;
      out[length++] = place;
    };
    for (const place of example.positives) take(place);
    for (const place of example.excludedPlaces) this.stamps[place] = this.stamp;
    const end = length + count;
    const { explicit, hard } = example;
    for (let i = 0; i < explicit.length && length < end - count / 2; i++) take(explicit[i]!);
    const wanted = others.length < count / 4 ? count : Math.round(count * hardShare);
    for (let i = 0; i < hard.length && i < wanted && length < end; i++) take(hard[i]!);
    for (let tries = 0; tries < count && length < end && others.length > 0; tries++) {
      take(others[this.prng.below(others.length)]!);
    }
    if (isLoading) this.pool.load(out.subarray(0, length));
    return length;
  }

  private begin(): void {
    if (this.stamps.length < this.pool.nodes.length) this.stamps = new Uint32Array(this.pool.nodes.length * 2);
    if (++this.stamp === 0xffffffff) {
      this.stamps.fill(0);
      this.stamp = 1;
    }
  }
}

/** Distinct documents chosen in any of the examples, as places. */
export function chosenPlaces(examples: readonly Example[]): Int32Array {
  const places = new Set<number>();
  for (const example of examples) for (const place of example.positives) places.add(place);
  return Int32Array.from(places);
}
