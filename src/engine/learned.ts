/**
 * What was learned, as the store keeps it and queries use it: parameters and overlay in memory,
 * mirrored into two sections of the region, so that checkpoints and recovery treat them like
 * everything else. training/ decides what to learn; this applies it.
 *
 * Section `parameters` is the state's own buffer. Section `overlay` holds slots of a fixed stride:
 * slot 0 starts with the number of slots ever used (u32); every other one holds 1 or 0 (u32: in
 * use), the node (u32), how often it was chosen (u32), 4 bytes of zero, and the shift (f32 x dimensions).
 */

import { normalize } from "../../model/scoring.js";
import type { Region } from "../../native/index.js";
import type { SectionSpec } from "../../storage/store.js";
import type { LearningOptions } from "../../training/options.js";
import { learningReport, type LearningReport as Report } from "../../training/report.js";
import { adaptQuery, scoreOf, serving } from "../../training/serving.js";
import { applyDelta, type Delta, FIELD, forget, LearnedState, type ShiftChange } from "../../training/state.js";
import { hasBit } from "../catalog/bitmaps.js";
import type { Config } from "../config.js";
import type { Ranking } from "./querying.js";
import type { Searcher, SearchPlan } from "./searching.js";

const SLOT_HEADER_BYTES = 16;
/** Nothing learned needs more. */
const PARAMETERS_RESERVE_BYTES = 2 ** 30;

export type LearnerReport = Report["arms"][keyof Report["arms"]];

export interface LearningReport extends Report {
  /** Feedback events kept. */
  events: number;
}

/** The sections of a store of `dimensions` and at most `nodes` nodes, kinds from `kind` on. */
export function learnedSections(dimensions: number, nodes: number, kind: number): SectionSpec[] {
  const stride = slotStride(dimensions);
  return [
    { kind, name: "overlay", stride, reserveBytes: (nodes + 1) * stride },
    { kind: kind + 1, name: "parameters", stride: 1, reserveBytes: PARAMETERS_RESERVE_BYTES },
  ];
}

const slotStride = (dimensions: number): number => Math.ceil((SLOT_HEADER_BYTES + 4 * dimensions) / 64) * 64;

/** The learners' options out of the config; `rank` is the store's own. */
function learningOptions({ ruvector, learning }: Config, rank: number): LearningOptions {
  return {
    temperature: ruvector.temperature,
    negatives: ruvector.negative_samples,
    batchPairs: ruvector.batch_size,
    decoupled: learning.decoupled,
    rank,
    adapterRate: learning.adapter_rate,
    adapterDecay: learning.adapter_decay,
    adapterEpochs: learning.adapter_epochs,
    shiftRate: learning.shift_rate,
    shiftBound: learning.shift_bound,
    shiftEpochs: learning.shift_epochs,
    confidence: learning.confidence,
    disjointTolerance: learning.disjoint_tolerance,
    disjointConfidence: learning.disjoint_confidence,
    window: learning.window,
    minimumEvents: learning.minimum_events,
    sourceShare: learning.source_share,
    replay: learning.replay,
  };
}

export class Learned {
  readonly state: LearnedState;
  /** Told of nodes that disappear, while somebody wants to know. */
  onForget: ((nodes: Uint32Array) => void) | undefined;

  /** How many nodes have disappeared. */
  forgotten = 0;

  private readonly stride: number;
  private readonly slots = new Map<number, number>();
  private readonly freeSlots: number[] = [];
  private slotCount = 0;

  /** @param overlaySection the number of section `overlay` in the region; `parameters` follows it */
  constructor(
    private readonly region: Region,
    private readonly overlaySection: number,
    private readonly searcher: Searcher,
    config: Config,
    rank: number,
  ) {
    this.state = new LearnedState(searcher.dimensions, searcher.metric, learningOptions(config, rank));
    this.stride = slotStride(searcher.dimensions);
    this.load();
  }

  /** Whether `neural` differs from `vector`. */
  get serves(): boolean {
    return this.state.gate.serving !== 0;
  }

  apply(delta: Delta): void {
    applyDelta(this.state, delta);
    for (const { at, bytes } of delta.parameters) this.region.write(this.overlaySection + 1, at, bytes);
    for (const change of delta.overlay) this.writeSlot(change);
  }

  /** Nodes that disappeared take their shifts with them. */
  forget(nodes: Uint32Array): void {
    if (nodes.length === 0) return;
    this.forgotten += nodes.length;
    this.onForget?.(nodes);
    const delta = forget(this.state, nodes);
    if (delta) this.apply(delta);
  }

  /**
   * Nodes by what the serving learners make of a query: the graph is searched with the adapted
   * query, and every shifted node competes with its shifted row.
   */
  rank(query: Float32Array, plan: SearchPlan): Ranking {
    const { searcher, state } = this;
    const { graph, metric } = searcher;
    const { adapter, shift } = serving(state);
    const own = this.unit(Float32Array.from(query));
    const asked = adapter ? adaptQuery(state, own) : own;
    const overlay = state.overlay;
    const moved = shift ? Math.min(overlay.size, 2 * plan.k) : 0;
    const near = searcher.nearest(asked, { ...plan, k: plan.k + moved, ef: Math.max(plan.ef, plan.k + moved) });
    const ranked: { node: number; score: number }[] = [];
    near.nodes.forEach((node, i) => {
      if (!shift || !overlay.has(node)) ranked.push({ node, score: searcher.scoreOf(near.distances[i]) });
    });
    if (shift) {
      overlay.refresh((node) => this.unit(graph.vector(node)));
      const { bits } = plan;
      overlay.nodes.forEach((node, slot) => {
        const matches = !bits || hasBit(bits, node);
        if (matches && graph.isLive(node)) ranked.push({ node, score: scoreOf(metric, asked, overlay.row(slot)) });
      });
    }
    ranked.sort((a, b) => b.score - a.score || a.node - b.node);
    const best = ranked.slice(0, plan.k);
    const nodes = Uint32Array.from(best, (r) => r.node);
    return { nodes, distances: graph.distances(query, nodes), scores: best.map((r) => r.score) };
  }

  report(): LearningReport {
    return { ...learningReport(this.state), events: this.searcher.catalog.feedbackCount };
  }

  /** A vector as the learners see it: unit length under cosine. */
  unit(vector: Float32Array): Float32Array {
    if (this.searcher.metric === "cosine") normalize(vector);
    return vector;
  }

  private writeSlot({ node, shift, choices }: ShiftChange): void {
    let slot = this.slots.get(node);
    if (shift === null) {
      if (slot === undefined) return;
      this.region.write(this.overlaySection, slot * this.stride, new Uint8Array(SLOT_HEADER_BYTES));
      this.slots.delete(node);
      this.freeSlots.push(slot);
      return;
    }
    if (slot === undefined) {
      slot = this.freeSlots.pop();
      if (slot === undefined) {
        slot = ++this.slotCount;
        this.region.write(this.overlaySection, 0, new Uint8Array(Uint32Array.of(this.slotCount).buffer));
      }
      this.slots.set(node, slot);
    }
    const bytes = new Uint8Array(SLOT_HEADER_BYTES + shift.byteLength);
    bytes.set(new Uint8Array(Uint32Array.of(1, node, choices).buffer));
    bytes.set(new Uint8Array(shift.buffer, shift.byteOffset, shift.byteLength), SLOT_HEADER_BYTES);
    this.region.write(this.overlaySection, slot * this.stride, bytes);
  }

  /** Nothing is read past the header where nothing was learned. */
  private load(): void {
    const { header, bytes } = this.state;
    bytes.set(this.region.read(this.overlaySection + 1, 0, header.byteLength));
    if (header[FIELD.started] === 0 && header[FIELD.events] === 0) return;
    bytes.set(this.region.read(this.overlaySection + 1, 0, bytes.length));
    [this.slotCount] = new Uint32Array(this.region.read(this.overlaySection, 0, 4).buffer);
    for (let slot = 1; slot <= this.slotCount; slot++) {
      const stored = this.region.read(
        this.overlaySection,
        slot * this.stride,
        SLOT_HEADER_BYTES + 4 * this.searcher.dimensions,
      );
      const [used, node, choices] = new Uint32Array(stored.buffer, 0, 3);
      if (used === 0) {
        this.freeSlots.push(slot);
        continue;
      }
      this.slots.set(node, slot);
      this.state.overlay.set(node, new Float32Array(stored.buffer, SLOT_HEADER_BYTES), choices);
    }
  }
}
