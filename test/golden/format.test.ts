/**
 * The format's bytes, as docs/format.md has them and as stores hold them. A change here is a new
 * version of the format, whatever else passes: stores of the old one are out there.
 */
import { describe, expect, test } from "vitest";
import { Edges } from "../../model/edges.js";
import * as records from "../../src/engine/records.js";
import * as format from "../../storage/format.js";
import { decodeDelta, encodeDelta } from "../../training/delta-bytes.js";

const storeId = Uint8Array.from({ length: 16 }, (_, i) => i);
const hex = (bytes: Uint8Array | Uint8Array[]) => Buffer.concat([bytes].flat()).toString("hex");

describe("files", () => {
  test("a meta slot, whose rest is zeros", () => {
    const extents = [{ fileBlock: 1, blocks: 1 }];
    const slot = format.encodeSlot({
      storeId,
      dimensions: 3,
      metric: "cosine",
      generation: 5,
      lsn: 7,
      config: { hnsw_m: 16 },
      sections: [{ kind: 0, name: "checksums", stride: 4096, length: 4096, extents }],
    });
    expect(slot).toHaveLength(format.SLOT_BYTES);
    expect(hex(slot).replace(/(00)+$/, "")).toBe(
      "484542424944580a01000000d430300a000102030405060708090a0b0c0d0e0f030000000100000005000000000000000700000000000000010000000d00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000010000000100000000000000100000000000000636865636b73756d7300000000000000000000000000000001000000010000007b22686e73775f6d223a31367d",
    );
  });
  test("a segment's header", () => {
    expect(hex(format.encodeSegmentHeader(storeId, 9))).toBe(
      "4845424257414c0a01000000ef1239ba000102030405060708090a0b0c0d0e0f0900000000000000000000000000000000000000000000000000000000000000",
    );
  });
  test("a record's header", () => {
    const header = format.encodeRecordHeader(storeId, {
      lsn: 10,
      syncedLsn: 9,
      type: records.RECORD.remove,
      continues: true,
      length: 12,
      payloadChecksum: 0x01020304,
      link: 0x0a0b0c0d,
    });
    expect(hex(header)).toBe(
      "48454252eaf017d1040302010c0000000a000000000000000900000000000000000102030405060708090a0b0c0d0e0f020100000d0c0b0a",
    );
  });
  test("a journal's header", () => {
    expect(hex(format.encodeJournalHeader({ storeId, generation: 6, entries: 2, bodyBytes: 8240 }))).toBe(
      "484542424a4e4c0a0200000026157acb000102030405060708090a0b0c0d0e0f0600000000000000302000000000000002000000000000000000000000000000",
    );
  });
});

describe("contents of log records", () => {
  test("have types that are for ever", () => {
    expect(records.RECORD).toEqual({
      put: 1,
      remove: 2,
      payload: 3,
      feedback: 4,
      learned: 5,
      setting: 6,
      gradients: 7,
      stepped: 8,
    });
  });
  test("put", () => {
    const put = {
      nodes: Uint32Array.of(1, 2),
      replaces: Uint32Array.of(records.NO_NODE, 0),
      ids: ["a", 42],
      payloads: [undefined, '{"x":1}'],
      vectors: Float32Array.of(1, -2, 0.5, 4),
    };
    const bytes = records.encodePut(put);
    expect(hex(bytes)).toBe(
      "02000000010000000200000002000000ffffffff00000000080000005b2261222c34325d120000005b6e756c6c2c227b5c22785c223a317d225d040000000000803f000000c00000003f00008040",
    );
    expect(records.decodePut(Buffer.concat(bytes))).toEqual(put);
  });
  test("remove", () => {
    expect(hex(records.encodeRemove(Uint32Array.of(3, 4)))).toBe("020000000300000004000000");
  });
  test("payload", () => {
    expect(hex(records.encodePayload(5, '{"y":true}'))).toBe("050000000e000000227b5c22795c223a747275657d22");
  });
  test("feedback", () => {
    const event = {
      query: Float32Array.of(1, 2),
      chosen: [{ id: "a", grade: 1 }],
      shown: ["a", 42],
      rejected: [],
      time: 6,
      source: "s",
    };
    const bytes = records.encodeFeedback(event);
    expect(hex(bytes)).toBe(
      "020000000000803f00000040560000007b2263686f73656e223a5b7b226964223a2261222c226772616465223a317d5d2c2273686f776e223a5b2261222c34325d2c2272656a6563746564223a5b5d2c2274696d65223a362c22736f75726365223a2273227d",
    );
    expect(records.decodeFeedback(Buffer.concat(bytes))).toEqual(event);
  });
  test("feedback by example", () => {
    const event = {
      query: Float32Array.of(1),
      chosen: [{ id: 3, grade: 2 }],
      shown: [],
      rejected: [],
      time: 6,
      examples: [1, 2, "n"],
      weights: [1, 0.5],
    };
    const bytes = records.encodeFeedback(event);
    expect(Buffer.concat(bytes).subarray(12).toString()).toBe(
      '{"chosen":[{"id":3,"grade":2}],"shown":[],"rejected":[],"time":6,"examples":[1,2,"n"],"weights":[1,0.5]}',
    );
    expect(records.decodeFeedback(Buffer.concat(bytes))).toEqual(event);
  });
  test("learned", () => {
    const draft = new Edges(100);
    draft.add(2, 5, 1.5, 7);
    draft.choose(5, 0.5, 7);
    draft.forget(9, 8);
    draft.add(9, 5, 1, 8);
    draft.forget(9, 9);
    const delta = {
      parameters: [{ at: 16, bytes: Uint8Array.of(1, 2) }],
      overlay: [
        { node: 3, shift: Float32Array.of(0.5), choices: 4 },
        { node: 6, shift: null, choices: 0 },
      ],
      edges: [...draft.changes().filter(({ node }) => node !== 5), { node: 8, record: null, lanes: [] }],
      network: [{ at: 32, bytes: Uint8Array.of(12) }],
      biases: [
        { node: 7, to: Uint32Array.of(1, 2), values: Float32Array.of(0.5, -1) },
        { node: 4, to: new Uint32Array(0), values: new Float32Array(0) },
      ],
    };
    const bytes = encodeDelta(delta);
    expect(hex(bytes)).toBe(
      [
        "01000000020000000300000001000000", // counts of pieces, shifts, nodes with edges, pieces of the network,
        "02000000", // and rows with logits
        "10000000020000000102",
        "0300000004000000010000000000003f",
        "060000000000000000000000",
        "0200000001000000010000000000000007000000" + "0000c03f000000000000000001000000",
        "00000000050000000000c03f07000000",
        "0900000001000000000000000900000009000000" + "00000000000000000000000000000000",
        "0800000000000000000000000000000000000000" + "00000000000000000000000000000000",
        "20000000010000000c",
        "07000000020000000100000002000000" + "0000003f000080bf",
        "0400000000000000",
      ].join(""),
    );
    expect(encodeDelta(decodeDelta(bytes))).toEqual(bytes);
  });
  test("setting", () => {
    expect(hex(records.encodeSetting("encoder", Uint8Array.of(1, 2)))).toBe("0900000022656e636f64657222020000000102");
  });
});
