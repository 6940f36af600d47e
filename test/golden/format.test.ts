/**
 * The format's bytes, as docs/format.md has them and as stores hold them. A change here is a new
 * version of the format, whatever else passes: stores of the old one are out there.
 */
import { describe, expect, test } from "vitest";
import * as records from "../../src/engine/records.js";
import * as format from "../../storage/format.js";

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
      "484542424a4e4c0a01000000df05496c000102030405060708090a0b0c0d0e0f0600000000000000302000000000000002000000000000000000000000000000",
    );
  });
});

describe("contents of log records", () => {
  test("have types that are for ever", () => {
    expect(records.RECORD).toEqual({ put: 1, remove: 2, payload: 3, feedback: 4, learned: 5, setting: 6 });
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
  test("setting", () => {
    expect(hex(records.encodeSetting("encoder", Uint8Array.of(1, 2)))).toBe("0900000022656e636f64657222020000000102");
  });
});
