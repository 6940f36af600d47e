/**
 * Whether a record of the log fits the store that it is to be applied to: its nodes exist and its values are as many as
 * they must be. Records that this release wrote do; one that does not is damage, or forged. Checked before any of it is
 * applied, because what is half applied cannot be taken back.
 */
import { firstNonFinite } from "../../native/index.js";
import { MOST_NETWORK_BYTES, NETWORK_HEADER_BYTES, networkBytes } from "../../training/network-bytes.js";
import type { Delta, LearnedState } from "../../training/state.js";
import type { StoredFeedback } from "../catalog/feedback-rows.js";
import { expectField, type GradientsRecord, NO_NODE, type PutRecord, type SteppedRecord } from "./records.js";

/** What there is for records to fit. */
export interface Fits {
  /** Node numbers are below. */
  nodes: number;
  dimensions: number;
}

function expectNodes(field: string, nodes: Iterable<number>, { nodes: count }: Fits): void {
  for (const node of nodes) expectField(node < count, field, node, `a node below ${count}`);
}

function expectValues(field: string, values: Float32Array, expected: number): void {
  expectField(values.length === expected, `length of ${field}`, values.length, `${expected}`);
  const at = firstNonFinite(values);
  expectField(at < 0, `value ${at} of ${field}`, values[at], "a number");
}

/** @throws {RangeError} as all of these: naming the field */
export function checkPut({ nodes, replaces, vectors }: PutRecord, fits: Fits): void {
  expectNodes("nodes", nodes, fits);
  for (const node of replaces) if (node !== NO_NODE) expectNodes("replaces", [node], fits);
  expectValues("vectors", vectors, nodes.length * fits.dimensions);
}

export function checkNodes(nodes: Iterable<number>, fits: Fits): void {
  expectNodes("nodes", nodes, fits);
}

export function checkFeedback({ query }: StoredFeedback, fits: Fits): void {
  expectValues("query", query, fits.dimensions);
}

export function checkGradients({ nodes, gradients }: GradientsRecord, fits: Fits): void {
  expectNodes("nodes", nodes, fits);
  expectValues("gradients", gradients, nodes.length * fits.dimensions);
}

export function checkStepped({ nodes, moments }: SteppedRecord, fits: Fits): void {
  expectNodes("nodes", nodes, fits);
  const one = nodes.length * fits.dimensions;
  expectValues("moments", moments, moments.length === 2 * one ? 2 * one : one);
}

export function checkDelta(delta: Delta, fits: Fits, state: LearnedState): void {
  for (const { at, bytes } of delta.parameters) {
    const end = at + bytes.length;
    expectField(end <= state.bytes.length, "end of a piece of parameters", end, `at most ${state.bytes.length}`);
  }
  for (const { node, shift } of delta.overlay) {
    expectNodes("node of a shift", [node], fits);
    if (shift) expectValues("shift", shift, fits.dimensions);
  }
  for (const { node, record, lanes } of delta.edges) {
    expectNodes("node with edges", [node], fits);
    if (record) for (const lane of lanes) expectNodes("end of an edge", [record.targets[lane]], fits);
  }
  let network = state.network?.bytes.length;
  for (const { at, bytes } of delta.network ?? []) {
    if (at === 0) {
      expectField(bytes.length >= NETWORK_HEADER_BYTES, "length of a network's header", bytes.length, "32");
      network = networkBytes(bytes, fits.dimensions);
      expectField(network <= MOST_NETWORK_BYTES, "size of a network", network, `at most ${MOST_NETWORK_BYTES}`);
    }
    const end = at + bytes.length;
    expectField(network !== undefined && end <= network, "end of a piece of a network", end, `at most ${network}`);
  }
  for (const { node, to } of delta.biases ?? []) {
    expectNodes("row with biases", [node], fits);
    expectNodes("end of a biased edge", to, fits);
  }
}
