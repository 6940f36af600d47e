/**
 * The caller's own training: gradients with respect to vectors are added up, durably, row by row, until
 * an optimizer takes one step with all that wait.
 *
 * Vectors stay as they were put. What a step moves is the overlay, the bounded shifts that feedback
 * moves too, and whether queries see those is the gate's decision: nothing changes in any mode but
 * `neural`, and there only while an arm with shifts serves.
 */
import { bytesOf } from "../../base/bytes.js";
import { checkOneOf, checkOptions, HebbError } from "../../base/errors.js";
import { inSlices } from "../../base/slices.js";
import type { Id } from "../../base/types.js";
import { boundShift, shiftBackward, shiftForward } from "../../model/overlay.js";
import { dot, normalize } from "../../model/scoring.js";
import { firstNonFinite } from "../../native/index.js";
import { encodeDelta } from "../../training/delta-bytes.js";
import {
  DECAY,
  MOMENTS,
  MOST_GRADIENT,
  OPTIMIZERS,
  optimizerStep,
  type StepSettings,
} from "../../training/optimizer.js";
import { type Delta, FIELD, type ShiftChange } from "../../training/state.js";
import type {
  AppliedGradients,
  ApplyGradientsOptions,
  GradientColumns,
  GradientRow,
  GradientStats,
  WaitingGradient,
} from "../types.js";
import { gradientsChange, learnedChange, steppedChange } from "./changes.js";
import type { Operation } from "./planning.js";
import { encodeGradients, encodeStepped, RECORD, type SteppedRecord } from "./records.js";
import type { Session } from "./session.js";
import { checkId, checkIds, checkRows, idKey, show } from "./validate.js";

/**
 * Values of one log record, in bytes; what is larger is several records of one group. What a record holds is applied in
 * one go.
 */
const RECORD_BYTES = 1 << 20;
/** Of one gradient: sums of so many as there can be are finite, and so are their squares in f64. */
const MOST_LENGTH = 1e15;
const RATE = 0.001;
const MOST_BOUND = 2;

/** Gradients that were checked and copied, each id once. */
interface Given {
  ids: Id[];
  /** ids.length x dimensions */
  gradients: Float32Array;
}

/** Part of an index: `index.gradients`. */
export class GradientAccumulator {
  readonly #session: Session;

  /** Made by the index. */
  constructor(session: Session) {
    this.#session = session;
  }

  /**
   * Adds gradients with respect to rows' vectors to those that wait: what `backward` of a differentiable query
   * gives for candidates, or what a loss of your own does. Resolves once they are durable; each is counted once,
   * whatever crashes. Calls may overlap; sums are f32, added up in the order of the calls. An id given several
   * times counts with the sum, and a row that is deleted or put again loses what waited for it. Costs what the
   * rows given cost, however many there are in the index.
   * @param rows `{ id, gradient }[]`, or `{ ids, gradients }` with ids.length x dimensions values; none is no error
   * @throws {TypeError | RangeError} on a bad id, and on a gradient of another length, longer than 1e15, or with a
   *   value that is not finite; nothing has changed then
   * @throws {HebbError} UNKNOWN_ID (nothing has changed then), STORE_FULL, DISK_FULL, IO_ERROR, STORE_POISONED,
   *   STORE_READ_ONLY
   */
  async accumulate(rows: GradientRow[] | GradientColumns): Promise<void> {
    const session = this.#session;
    session.checkWritable();
    const given = readGradients(rows, session.dimensions);
    if (given.ids.length === 0) return;
    await session.inFlight(() =>
      session.write(accumulateOperation(given, session.dimensions), given.gradients.byteLength),
    );
  }

  /**
   * One step of an optimizer on the shifts of all rows that gradients wait for, which then wait no more. A row's
   * moments and its number of steps are kept for the next one; they begin anew where it is of another kind (`adam`
   * and `adamw` are one). Resolves once it is durable; a crash leaves all of it or nothing.
   *
   * A shift moves the vector v of a row to v + shift, under cosine to |v| normalize(v / |v| + shift), and its
   * length is at most `bound` |v|, under cosine `bound`. Gradients are taken back through that.
   * `train` fits all shifts anew and so replaces what was applied before it ends; `learn` goes on from it.
   * @throws {TypeError | RangeError} on a bad option; nothing has changed then
   * @throws {HebbError} INDEX_CORRUPT, DISK_FULL, IO_ERROR, STORE_POISONED, STORE_READ_ONLY
   */
  async apply(options: ApplyGradientsOptions = {}): Promise<AppliedGradients> {
    const session = this.#session;
    session.checkWritable();
    const { bound = session.config.learning.shift_bound, ...settings } = readOptions(options);
    return session.inFlight(async () => {
      const applied = { rows: 0, norm: 0 };
      await session.logAlone(async () => {
        const nodes = session.gradients.waiting();
        applied.rows = nodes.length;
        applied.norm = session.gradients.stats().pendingNorm;
        const parts = await stepParts(session, nodes, settings, bound);
        return {
          records: parts.flatMap(({ delta, stepped }) => [
            { type: RECORD.learned, payload: encodeDelta(delta) },
            { type: RECORD.stepped, payload: encodeStepped(stepped) },
          ]),
          changes: (first) =>
            parts.flatMap(({ delta, stepped }, i) => [
              learnedChange(session, first + 2 * i, delta),
              steppedChange(session, first + 2 * i + 1, stepped),
            ]),
        };
      });
      return applied;
    });
  }

  /** What waits for a row, its shift and the steps it took; undefined where there is no such row, or none of these. */
  get(id: Id): WaitingGradient | undefined {
    const session = this.#session;
    session.checkOpen();
    const node = session.nodeOf(checkId(id));
    if (node === undefined) return undefined;
    const slot = session.gradients.of(node);
    const shift = session.learned.state.overlay.shiftOf(node)?.slice();
    return slot || shift ? { gradient: slot?.sum, shift, steps: slot?.steps ?? 0 } : undefined;
  }

  /** How much is kept, and how much waits. */
  stats(): GradientStats {
    this.#session.checkOpen();
    return this.#session.gradients.stats();
  }
}

/** Adds gradients to what waits for their rows. */
function accumulateOperation({ ids, gradients }: Given, dimensions: number): Operation {
  return {
    async plan(parts, names) {
      const nodes = new Uint32Array(ids.length);
      await inSlices(ids, (id, i) => {
        const node = names.nodeOf(id);
        if (node === undefined) {
          throw new HebbError(
            "UNKNOWN_ID",
            `a gradient is of id ${show(id)}, which is not in the index; put it first, or leave it out`,
            { id },
          );
        }
        nodes[i] = node;
      });
      parts.gradients.checkRoom(nodes);
      const records = Array.from(stretches(nodes.length, dimensions), ([from, to]) => ({
        nodes: nodes.subarray(from, to),
        gradients: gradients.subarray(from * dimensions, to * dimensions),
      }));
      return {
        records: records.map((record) => ({ type: RECORD.gradients, payload: encodeGradients(record) })),
        changes: (first) => records.map((record, i) => gradientsChange(parts, first + i, record)),
        remember() {},
        abandon() {},
      };
    },
  };
}

/** What one step makes of the nodes' shifts and moments, in parts of a log record each. */
async function stepParts(
  { graph, gradients, learned, metric, dimensions: d }: Session,
  nodes: Uint32Array,
  settings: StepSettings,
  bound: number,
): Promise<{ delta: Delta; stepped: SteppedRecord }[]> {
  const { overlay } = learned.state;
  const parameters = firstLearned(learned.state.header);
  const parts: { delta: Delta; stepped: SteppedRecord }[] = [];
  const arrays = MOMENTS[settings.optimizer];
  const shift = new Float32Array(d);
  const slope = new Float64Array(d);
  const moved = new Float64Array(d);
  for (const [from, to] of stretches(nodes.length, (arrays + 1) * d)) {
    const steps = new Uint32Array(to - from);
    const moments = new Float32Array((to - from) * arrays * d);
    const shifts: ShiftChange[] = [];
    await inSlices(nodes.subarray(from, to), (node, i) => {
      const vector = graph.vector(node);
      const own = metric === "cosine" ? normalize(vector) : 1; // what a shift is measured in, in the vector's unit
      const shiftBefore = overlay.shiftOf(node);
      if (shiftBefore) shift.set(shiftBefore);
      else shift.fill(0);
      slope.set(gradients.of(node)!.sum!);
      for (let x = 0; x < d; x++) slope[x] *= own;
      const length = shiftForward(metric, vector, shift, moved);
      shiftBackward(metric, moved, length, slope);
      const before = gradients.momentsOf(node, arrays);
      steps[i] = before.steps + 1;
      optimizerStep(shift, Float32Array.from(slope, clipped), before.moments, steps[i], settings);
      boundShift(shift, bound * (metric === "cosine" ? 1 : Math.sqrt(dot(vector, vector))));
      moments.set(before.moments, i * arrays * d);
      // A row that had no shift and did not move gets none.
      if (shiftBefore || shift.some((x) => x !== 0)) {
        shifts.push({ node, shift: shift.slice(), choices: overlay.choicesOf(node) });
      }
    });
    parts.push({
      delta: { parameters, overlay: shifts, edges: [] },
      stepped: { nodes: nodes.subarray(from, to), steps, moments },
    });
  }
  return parts;
}

const clipped = (g: number): number => Math.max(-MOST_GRADIENT, Math.min(MOST_GRADIENT, g));

/**
 * Shifts are read on opening where something was learned: where nothing was yet, the clock of what is learned moves.
 */
function firstLearned(header: Float64Array): Delta["parameters"] {
  if (header[FIELD.started] !== 0 || header[FIELD.events] !== 0 || header[FIELD.clock] !== 0) return [];
  return [{ at: FIELD.clock * Float64Array.BYTES_PER_ELEMENT, bytes: bytesOf(Float64Array.of(1)) }];
}

/** Rows `from` to `to` of n with so many f32 each, a log record's worth at a time. */
function* stretches(n: number, values: number): Generator<[from: number, to: number]> {
  const most = Math.max(1, Math.floor(RECORD_BYTES / (4 * values)));
  for (let from = 0; from < n; from += most) yield [from, Math.min(n, from + most)];
}

/** @throws {TypeError | RangeError} */
function readOptions(options: ApplyGradientsOptions): StepSettings & { bound: number | undefined } {
  checkOptions("apply", options, ["optimizer", "rate", "weightDecay", "bound"]);
  const optimizer = options.optimizer === undefined ? "adamw" : checkOneOf("optimizer", options.optimizer, OPTIMIZERS);
  const { rate = RATE, weightDecay = optimizer === "adamw" ? DECAY : 0, bound } = options;
  if (!(typeof rate === "number" && rate > 0 && rate <= 1)) {
    throw new RangeError(`rate is ${show(rate)}; expected a number above 0, at most 1`);
  }
  checkNumber("weightDecay", weightDecay, 1);
  if (bound !== undefined) checkNumber("bound", bound, MOST_BOUND);
  return { optimizer, rate, weightDecay, bound };
}

function checkNumber(name: string, value: unknown, most: number): void {
  if (typeof value === "number" && value >= 0 && value <= most) return;
  throw new RangeError(`${name} is ${show(value)}; expected a number from 0 to ${most}`);
}

/** @throws {TypeError | RangeError} */
function readGradients(rows: GradientRow[] | GradientColumns, dimensions: number): Given {
  if (typeof rows !== "object" || rows === null) {
    throw new TypeError(`accumulate got ${show(rows)}; expected an array of { id, gradient }, or { ids, gradients }`);
  }
  const sums = new Sums(dimensions);
  if (Array.isArray(rows)) {
    for (const [i, row] of rows.entries()) {
      if (typeof row !== "object" || row === null) {
        throw new TypeError(`entry ${i} is ${show(row)}; expected { id, gradient }`);
      }
      checkOptions(`entry ${i}`, row, ["id", "gradient"]);
      const id = checkId(row.id);
      sums.add(id, valuesOf(id, row.gradient, dimensions));
    }
    return sums.done();
  }
  checkOptions("accumulate", rows, ["ids", "gradients"]);
  if (!Array.isArray(rows.ids)) throw new TypeError(`ids is ${show(rows.ids)}; expected an array of ids`);
  const ids = checkIds(rows.ids);
  const values = checkRows("gradients", rows.gradients, dimensions);
  if (values.length !== ids.length * dimensions) {
    const n = values.length / dimensions;
    throw new RangeError(`gradients holds ${n} rows of ${dimensions}; expected ${ids.length}, one for each id`);
  }
  for (const [i, id] of ids.entries()) sums.add(id, values.subarray(i * dimensions, (i + 1) * dimensions));
  return sums.done();
}

function valuesOf(id: Id, gradient: unknown, dimensions: number): Float32Array {
  const isNumbers = Array.isArray(gradient) && gradient.every((x) => typeof x === "number");
  if (!isNumbers && !(gradient instanceof Float32Array) && !(gradient instanceof Float64Array)) {
    const expected = `a Float32Array (or array) of ${dimensions} numbers`;
    throw new TypeError(`gradient of id ${show(id)} is ${show(gradient)}; expected ${expected}`);
  }
  if (gradient.length !== dimensions) {
    throw new RangeError(
      `gradient of id ${show(id)} has ${gradient.length} values; expected ${dimensions}, the index's dimensions`,
    );
  }
  return gradient instanceof Float32Array ? gradient : Float32Array.from(gradient);
}

/** Gradients by id, those of one id added up in the order given. */
class Sums {
  private readonly ids: Id[] = [];
  private readonly places = new Map<string, number>();
  private values: Float32Array;

  constructor(private readonly dimensions: number) {
    this.values = new Float32Array(16 * dimensions);
  }

  /** @throws {RangeError} on a value that is not finite, and on a gradient that is too long */
  add(id: Id, gradient: Float32Array): void {
    const d = this.dimensions;
    const bad = firstNonFinite(gradient);
    if (bad >= 0) {
      throw new RangeError(
        `gradient of id ${show(id)} holds ${gradient[bad]} at position ${bad}; expected finite numbers`,
      );
    }
    const length = Math.sqrt(dot(gradient, gradient));
    if (length > MOST_LENGTH) {
      throw new RangeError(`gradient of id ${show(id)} has length ${length}; expected at most ${MOST_LENGTH}`);
    }
    const key = idKey(id);
    let place = this.places.get(key);
    if (place === undefined) {
      place = this.ids.length;
      this.places.set(key, place);
      this.ids.push(id);
      if (this.ids.length * d > this.values.length) {
        const more = new Float32Array(2 * this.values.length);
        more.set(this.values);
        this.values = more;
      }
    }
    for (let x = 0, at = place * d; x < d; x++, at++) this.values[at] += gradient[x];
  }

  done(): Given {
    return { ids: this.ids, gradients: this.values.subarray(0, this.ids.length * this.dimensions) };
  }
}
