/**
 * One layer of the message-passing network, for one anchor: the scalar reference. native/gnn/ computes the
 * same in blocks; this file says what, and tests hold the two together.
 *
 * An anchor x (d values) hears N neighbours, rows of a pool, each over an edge with a weight w in (0, 1]:
 *
 *   msg_p = W_msg pool_p;  k_p = W_K msg_p;  v_p = W_V msg_p;  q = W_Q x
 *   a_hn  = softmax over n of  q_h . k_nh / sqrt(H / m) + log w_n         (for each of m heads)
 *   ctx   = dropout(the heads' sums over n of a_hn v_nh, one after the other)
 *   agg   = W_agg ctx
 *   z = sigmoid(W_z agg + U_z x + b_z);  r = sigmoid(W_r agg + U_r x + b_r)
 *   n = tanh(W_n agg + b_n + r * (U_n x + c_n));  u = (1 - z) * n + z * x  (a GRU whose hidden state is x)
 *   delta = gain * layerNorm(u) + bias;  e = g delta;  c = min(1, bound |x| / |e|)
 *   y = x + c e, made a unit vector under cosine
 *
 * With g = 0 exactly, or without neighbours, y is x itself. Linear propagation has no parameter but g:
 *
 *   a_n = w_n / sum of w;  delta = sum over n of a_n pool_n - x;  e, c, y as above
 *
 * The weight stands in the logit and not in front of the message: a message scaled to 0 would keep the
 * logit 0, above all negative ones. The gate and the normalization keep y in the space that is searched.
 * Sources: attention Vaswani et al. 2017; gated unit Cho et al. 2014 in the form with the reset gate
 * behind U_n x; layer norm Ba et al. 2016.
 */
import { MASKED, type NetworkShape } from "../../native/gnn.js";
import { axpy, dot, type Floats, normalizeBackward } from "../scoring.js";
import { type Block, type BlockName, layoutOf } from "./parameters.js";

const EPSILON = 1e-5;

/** What one anchor hears. */
export interface Neighbourhood {
  /** P x d. */
  pool: Floats;
  /** N pool rows, or MASKED. */
  index: Uint32Array;
  /** N logarithms of weights, at most 0; minus infinity counts as MASKED. */
  logWeights: Floats;
  /** What position i of the context is multiplied by; 1 where nothing is dropped. */
  keep?: (position: number) => number;
}

/** All that the forward pass computed; `y` and `attention` (heads x N, 0 where masked) are its result. */
export interface Trace {
  y: Floats;
  attention: Floats;
  heard: number[];
  q: Floats;
  messages: Floats[];
  keys: Floats[];
  values: Floats[];
  context: Floats;
  agg: Floats;
  z: Floats;
  r: Floats;
  n: Floats;
  /** U_n x + c_n */
  hidden: Floats;
  normal: Floats;
  /** 1 / sqrt(variance + 1e-5) */
  inverse: number;
  delta: Floats;
  lengthIn: number;
  lengthChange: number;
  lengthOut: number;
  /** c */
  bounded: number;
}

function total(x: Floats): number {
  let sum = 0;
  for (const value of x) sum += value;
  return sum;
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** Numbers of the kind that parameters are. */
export const zeros = (like: Floats, n: number): Floats =>
  like instanceof Float64Array ? new Float64Array(n) : new Float32Array(n);

/** M x */
function times(parameters: Floats, { offset, rows, columns }: Block, x: Floats): Floats {
  const out = zeros(x, rows);
  for (let i = 0; i < rows; i++) out[i] = dot(x, parameters, offset + i * columns);
  return out;
}

/** The gradients of M x: dM += g x^T, and M^T g is returned. */
function timesBackward(parameters: Floats, { offset, rows, columns }: Block, x: Floats, g: Floats, gradient: Floats) {
  const back = zeros(x, columns);
  for (let i = 0; i < rows; i++) {
    axpy(g[i]!, x, gradient, 0, offset + i * columns, columns);
    axpy(g[i]!, parameters, back, offset + i * columns, 0, columns);
  }
  return back;
}

/** Places that count. */
function heardPlaces({ index, logWeights }: Neighbourhood): number[] {
  const places = Array.from(index.keys());
  return places.filter((n) => index[n] !== MASKED && logWeights[n] !== Number.NEGATIVE_INFINITY);
}

/** y and attention for one anchor x. */
export function layerForward(shape: NetworkShape, parameters: Floats, x: Floats, around: Neighbourhood): Trace {
  const { dimensions: d, hidden: H, propagation } = shape;
  const { pool, index, logWeights } = around;
  const linear = propagation === "linear";
  const heads = linear ? 1 : shape.heads;
  const each = H / shape.heads;
  const at = layoutOf(shape);
  const none = zeros(x, 0);
  const heard = heardPlaces(around);
  const rows = heard.map((n) => pool.subarray(index[n]! * d, (index[n]! + 1) * d));
  const attention = zeros(x, heads * index.length);
  const trace: Trace = {
    ...{ y: x.slice(), attention, heard, q: none, messages: [], keys: [], values: [], context: none, agg: none },
    ...{ z: none, r: none, n: none, hidden: none, normal: none, inverse: 0, delta: zeros(x, d) },
    ...{ lengthIn: 0, lengthChange: 0, lengthOut: 0, bounded: 1 },
  };
  if (heard.length === 0) return trace;

  if (!linear) {
    trace.q = times(parameters, at.wQ, x);
    trace.messages = rows.map((row) => times(parameters, at.wMsg, row));
    trace.keys = trace.messages.map((message) => times(parameters, at.wK, message));
    trace.values = trace.messages.map((message) => times(parameters, at.wV, message));
  }
  for (let h = 0; h < heads; h++) {
    const ofHead = (v: Floats) => v.subarray(h * each, (h + 1) * each);
    const logits = heard.map((n, i) => {
      const match = linear ? 0 : dot(ofHead(trace.q), ofHead(trace.keys[i]!)) / Math.sqrt(each);
      return match + logWeights[n]!;
    });
    const max = Math.max(...logits);
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - max), 0);
    heard.forEach((n, i) => {
      attention[h * index.length + n] = Math.exp(logits[i]! - max) / sum;
    });
  }

  if (linear) {
    heard.forEach((n, i) => {
      axpy(attention[n]!, rows[i]!, trace.delta);
    });
    axpy(-1, x, trace.delta);
  } else {
    gatedUnit(shape, parameters, x, around, trace);
  }
  addChange(shape, parameters[at.g.offset]!, x, trace);
  return trace;
}

/** From what the heads gather to delta: the gated unit, and its layer norm. */
function gatedUnit(
  shape: NetworkShape,
  parameters: Floats,
  x: Floats,
  { index, keep = () => 1 }: Neighbourhood,
  trace: Trace,
): void {
  const { dimensions: d, hidden: H } = shape;
  const at = layoutOf(shape);
  const each = H / shape.heads;
  const { heard, attention, delta } = trace;
  const context = zeros(x, H);
  for (let j = 0; j < H; j++) {
    const h = Math.floor(j / each);
    heard.forEach((n, i) => {
      context[j] = context[j]! + attention[h * index.length + n]! * trace.values[i]![j]!;
    });
    context[j] = context[j]! * keep(j);
  }
  const agg = times(parameters, at.wAgg, context);
  const side = (w: BlockName, u: BlockName) => [times(parameters, at[w], agg), times(parameters, at[u], x)] as const;
  const [wZ, uZ] = side("wZ", "uZ");
  const [wR, uR] = side("wR", "uR");
  const [wN, uN] = side("wN", "uN");
  const vector = (name: BlockName) => parameters.subarray(at[name].offset, at[name].offset + d);
  const [bZ, bR, bN, cN] = [vector("bZ"), vector("bR"), vector("bN"), vector("cN")];
  const z = wZ.map((w, j) => sigmoid(w + uZ[j]! + bZ[j]!));
  const r = wR.map((w, j) => sigmoid(w + uR[j]! + bR[j]!));
  const hidden = uN.map((u, j) => u + cN[j]!);
  const n = wN.map((w, j) => Math.tanh(w + bN[j]! + r[j]! * hidden[j]!));
  const unit = x.map((own, j) => (1 - z[j]!) * n[j]! + z[j]! * own);
  const mean = total(unit) / d;
  const variance = total(unit.map((u) => (u - mean) ** 2)) / d;
  const inverse = 1 / Math.sqrt(variance + EPSILON);
  const normal = unit.map((u) => (u - mean) * inverse);
  const gain = vector("gain");
  const bias = vector("bias");
  for (let j = 0; j < d; j++) delta[j] = gain[j]! * normal[j]! + bias[j]!;
  Object.assign(trace, { context, agg, z, r, n, hidden, normal, inverse });
}

/** y: x and the bounded change through the gate, normalized under cosine. */
function addChange({ dimensions: d, metric, bound }: NetworkShape, g: number, x: Floats, trace: Trace): void {
  const length = (v: Floats) => Math.sqrt(dot(v, v));
  trace.lengthIn = length(x);
  trace.lengthOut = trace.lengthIn;
  trace.lengthChange = Math.abs(g) * length(trace.delta);
  const most = bound * trace.lengthIn;
  if (most < trace.lengthChange) trace.bounded = most / trace.lengthChange;
  if (g === 0) return;
  const y = trace.y;
  for (let j = 0; j < d; j++) y[j] = x[j]! + trace.bounded * (g * trace.delta[j]!);
  if (metric !== "cosine") return;
  trace.lengthOut = length(y);
  if (trace.lengthOut > 0) for (let j = 0; j < d; j++) y[j] = y[j]! / trace.lengthOut;
}

/**
 * Back through one anchor's layer: adds to `gradient` (of the parameters) and to `gradientLogWeights` (N),
 * and returns dL/dx. Pool rows are constants.
 * @param toY dL/dy
 */
export function layerBackward(
  shape: NetworkShape,
  parameters: Floats,
  x: Floats,
  around: Neighbourhood,
  trace: Trace,
  toY: Floats,
  gradient: Floats,
  gradientLogWeights: Floats,
): Floats {
  const { dimensions: d, propagation } = shape;
  const { pool, index } = around;
  const toX = toY.slice();
  if (trace.heard.length === 0) return toX;
  const toDelta = addChangeBackward(shape, parameters, x, trace, toX, gradient);
  if (toDelta === undefined) return toX;
  const rows = trace.heard.map((n) => pool.subarray(index[n]! * d, (index[n]! + 1) * d));
  if (propagation === "linear") {
    const toAttention = rows.map((row) => dot(toDelta, row));
    softmaxBackward(trace, 0, toAttention, gradientLogWeights);
    axpy(-1, toDelta, toX);
    return toX;
  }
  const toContext = gatedUnitBackward(shape, parameters, x, around, trace, toDelta, toX, gradient);
  attentionBackward(shape, parameters, x, rows, trace, toContext, toX, gradient, gradientLogWeights);
  return toX;
}

/**
 * Back through `addChange`: makes dL/dx of dL/dy, but for what comes through delta.
 * @param toX dL/dy
 * @returns dL/ddelta; undefined where the gate is shut, so that nothing gets there
 */
function addChangeBackward(
  shape: NetworkShape,
  parameters: Floats,
  x: Floats,
  trace: Trace,
  toX: Floats,
  gradient: Floats,
): Floats | undefined {
  const { dimensions: d, metric, bound } = shape;
  const { delta, lengthIn, lengthChange } = trace;
  const gAt = layoutOf(shape).g.offset;
  const g = parameters[gAt]!;

  // Normalization. At g = 0 y is x whatever its length, and only the gate leads away from it.
  const toSum = toX.slice();
  if (metric === "cosine") {
    const unit = g === 0 && lengthIn > 0 ? x.map((v) => v / lengthIn) : trace.y;
    normalizeBackward(unit, trace.lengthOut, toSum);
  }
  if (g === 0) {
    gradient[gAt] = gradient[gAt]! + dot(toSum, delta);
    return undefined;
  }
  toX.set(toSum);

  // The bound: within it e passes as it is; beyond, c e = bound |x| e / |e|.
  const toDelta = zeros(x, d);
  if (trace.bounded === 1) {
    gradient[gAt] = gradient[gAt]! + dot(toSum, delta);
    axpy(g, toSum, toDelta);
    return toDelta;
  }
  const along = (g * dot(toSum, delta)) / lengthChange;
  const share = (bound * lengthIn) / lengthChange;
  for (let j = 0; j < d; j++) toDelta[j] = g * share * (toSum[j]! - ((g * delta[j]!) / lengthChange) * along);
  if (lengthIn > 0) axpy((bound * along) / lengthIn, x, toX);
  return toDelta;
}

/** From dL/da of a head and each neighbour to dL/dlogits, through the softmax. */
function softmaxBackward({ heard, attention }: Trace, h: number, toAttention: number[], gradientLogWeights: Floats) {
  const a = heard.map((n) => attention[h * gradientLogWeights.length + n]!);
  const along = a.reduce((sum, weight, i) => sum + weight * toAttention[i]!, 0);
  return a.map((weight, i) => {
    const toLogit = weight * (toAttention[i]! - along);
    gradientLogWeights[heard[i]!] = gradientLogWeights[heard[i]!]! + toLogit;
    return toLogit;
  });
}

/** Back through `gatedUnit`: adds to dL/dx, and returns dL/dcontext, as the heads gathered it. */
function gatedUnitBackward(
  shape: NetworkShape,
  parameters: Floats,
  x: Floats,
  { keep = () => 1 }: Neighbourhood,
  trace: Trace,
  toDelta: Floats,
  toX: Floats,
  gradient: Floats,
): Floats {
  const { dimensions: d } = shape;
  const at = layoutOf(shape);
  const { normal, z, r, n: candidate, hidden } = trace;
  const add = (name: BlockName, value: (j: number) => number) => {
    for (let j = 0, i = at[name].offset; j < d; j++, i++) gradient[i] = gradient[i]! + value(j);
  };
  add("gain", (j) => toDelta[j]! * normal[j]!);
  add("bias", (j) => toDelta[j]!);
  const gain = parameters.subarray(at.gain.offset, at.gain.offset + d);
  const toNormal = toDelta.map((v, j) => v * gain[j]!);
  const mean = total(toNormal) / d;
  const along = dot(toNormal, normal) / d;
  const toUnit = toNormal.map((v, j) => trace.inverse * (v - mean - normal[j]! * along));
  axpy(
    1,
    toUnit.map((v, j) => v * z[j]!),
    toX,
  );
  const toZ = toUnit.map((v, j) => v * (x[j]! - candidate[j]!) * z[j]! * (1 - z[j]!));
  const toN = toUnit.map((v, j) => v * (1 - z[j]!) * (1 - candidate[j]! ** 2));
  const toR = toN.map((v, j) => v * hidden[j]! * r[j]! * (1 - r[j]!));
  const toHidden = toN.map((v, j) => v * r[j]!);
  add("bZ", (j) => toZ[j]!);
  add("bR", (j) => toR[j]!);
  add("bN", (j) => toN[j]!);
  add("cN", (j) => toHidden[j]!);
  const back = (name: BlockName, input: Floats, to: Floats) => timesBackward(parameters, at[name], input, to, gradient);
  const toAgg = back("wZ", trace.agg, toZ);
  axpy(1, back("wR", trace.agg, toR), toAgg);
  axpy(1, back("wN", trace.agg, toN), toAgg);
  axpy(1, back("uZ", x, toZ), toX);
  axpy(1, back("uR", x, toR), toX);
  axpy(1, back("uN", x, toHidden), toX);
  return back("wAgg", trace.context, toAgg).map((v, j) => v * keep(j));
}

/** Back through the attention of all heads: into the values, the keys, the query. */
function attentionBackward(
  shape: NetworkShape,
  parameters: Floats,
  x: Floats,
  rows: Floats[],
  trace: Trace,
  toContext: Floats,
  toX: Floats,
  gradient: Floats,
  gradientLogWeights: Floats,
): void {
  const { hidden: H, heads } = shape;
  const at = layoutOf(shape);
  const { heard, attention } = trace;
  const places = gradientLogWeights.length;
  const each = H / heads;
  const toQ = zeros(x, H);
  const toKeys = heard.map(() => zeros(x, H));
  const toValues = heard.map(() => zeros(x, H));
  for (let h = 0; h < heads; h++) {
    const from = h * each;
    const ofHead = (v: Floats) => v.subarray(from, from + each);
    const toAttention = trace.values.map((value) => dot(ofHead(toContext), ofHead(value)));
    const toLogits = softmaxBackward(trace, h, toAttention, gradientLogWeights);
    heard.forEach((n, i) => {
      const toMatch = toLogits[i]! / Math.sqrt(each);
      axpy(attention[h * places + n]!, toContext, toValues[i]!, from, from, each);
      axpy(toMatch, trace.q, toKeys[i]!, from, from, each);
      axpy(toMatch, trace.keys[i]!, toQ, from, from, each);
    });
  }
  const back = (name: BlockName, input: Floats, to: Floats) => timesBackward(parameters, at[name], input, to, gradient);
  axpy(1, back("wQ", x, toQ), toX);
  heard.forEach((_, i) => {
    const toMessage = back("wK", trace.messages[i]!, toKeys[i]!);
    axpy(1, back("wV", trace.messages[i]!, toValues[i]!), toMessage);
    back("wMsg", rows[i]!, toMessage);
  });
}
