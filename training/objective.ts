/**
 * Loss of one event and its hand-written gradients, by the adapter and by a shift. The forward lines
 * are z_j = score(q', v'_j) / (temperature x scale), L = InfoNCE(z).
 */
import type { Metric } from "../base/types.js";
import { type Adapter, adapterBackward, adapterForward } from "../model/adapter.js";
import { shiftBackward } from "../model/overlay.js";
import { axpy, type Floats, score } from "../model/scoring.js";
import { infoNce } from "./infonce.js";

/** Buffers of one learner, so that a step allocates nothing. f64 is for gradient checks. */
export class Workspace {
  readonly adapted: Floats;
  readonly gradient: Floats;
  readonly logits: Floats;
  readonly dLogits: Floats;

  constructor(dimensions: number, candidates: number, Float: Float32ArrayConstructor | Float64ArrayConstructor) {
    this.adapted = new Float(dimensions);
    this.gradient = new Float(dimensions);
    this.logits = new Float64Array(candidates);
    this.dLogits = new Float64Array(candidates);
  }
}

/** The candidates of one event: rows[places[j]], the first `weights.length` being positives. */
export interface Candidates {
  rows: readonly Floats[];
  places: Int32Array;
  count: number;
  weights: Floats;
}

/** How scores enter the loss: `divisor` is the temperature times the scale of scores. */
export interface LossSettings {
  metric: Metric;
  divisor: number;
  decoupled: boolean;
  /** Candidates whose |dL/dz| is not above this are left out of gradients; 0 is exact. */
  negligible: number;
}

/**
 * Loss at the query as given; leaves dL/dz in `ws.dLogits`.
 * @param changed candidates whose rows are others than when the loss was last asked for in `ws`; all by default
 */
export function candidateLoss(
  ws: Workspace,
  loss: LossSettings,
  query: Floats,
  candidates: Candidates,
  changed?: Iterable<number>,
): number {
  const { rows, places, count, weights } = candidates;
  const rate = (j: number) => {
    ws.logits[j] = score(loss.metric, query, rows[places[j]!]!) / loss.divisor;
  };
  if (changed) for (const j of changed) rate(j);
  else for (let j = 0; j < count; j++) rate(j);
  return infoNce(ws.logits, weights, weights.length, count, ws.dLogits, loss.decoupled);
}

/**
 * Loss at the adapted query. Adds dL/dU to `gOutput`, writes dL/dq to `gQuery`, each where given;
 * neither is touched where the loss is not finite.
 */
export function adapterLoss(
  ws: Workspace,
  loss: LossSettings,
  adapter: Adapter,
  query: Floats,
  h: Floats,
  candidates: Candidates,
  gOutput: Floats | undefined,
  gQuery?: Floats,
): number {
  const length = adapterForward(adapter, loss.metric, query, h, ws.adapted);
  const value = candidateLoss(ws, loss, ws.adapted, candidates);
  if (!Number.isFinite(value)) return value;
  queryGradient(ws, loss, candidates);
  adapterBackward(adapter, loss.metric, h, ws.adapted, length, ws.gradient, gOutput, gQuery);
  return value;
}

/** dL/dq' into `ws.gradient`, from the dL/dz that `candidateLoss` left. */
export function queryGradient(ws: Workspace, loss: LossSettings, { rows, places, count }: Candidates): Floats {
  // dscore/dq' = v, and -2 (q' - v) for l2, where q' drops out because the dL/dz sum to 0.
  const factor = (loss.metric === "l2" ? 2 : 1) / loss.divisor;
  ws.gradient.fill(0);
  for (let j = 0; j < count; j++) {
    if (Math.abs(ws.dLogits[j]!) > loss.negligible) axpy(ws.dLogits[j]! * factor, rows[places[j]!]!, ws.gradient);
  }
  return ws.gradient;
}

/** dL/ddelta of one shifted candidate into `ws.gradient`: `row` is v', `length` what `shiftForward` returned. */
export function shiftGradient(
  ws: Workspace,
  loss: LossSettings,
  query: Floats,
  row: Floats,
  length: number,
  dLogit: number,
): Floats {
  // dscore/dv' = q, and 2 (q - v') for l2.
  const factor = ((loss.metric === "l2" ? 2 : 1) * dLogit) / loss.divisor;
  const g = ws.gradient;
  for (let i = 0; i < g.length; i++) g[i] = factor * (loss.metric === "l2" ? query[i]! - row[i]! : query[i]!);
  shiftBackward(loss.metric, row, length, g);
  return g;
}
