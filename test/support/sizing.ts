/** How large index.hebb gets, as docs/operating.md says: bytes of a row, from the layout in docs/format.md. */

export interface Sizing {
  dimensions: number;
  m: number;
  profile: "turbo" | "compact" | "small";
  cosine: boolean;
}

const filledUp = (bytes: number, to: number): number => Math.ceil(bytes / to) * to;

/** The vector and what belongs to it, without the share of upper layers that m decides. */
export function partsOf({ dimensions: d, m, profile, cosine }: Sizing) {
  const vector = filledUp(4 * d + (cosine ? 4 : 0), 64);
  const lanes = profile === "small" ? 2 * m : filledUp(2 * m, 32);
  const values = filledUp(d, 64);
  const projected = Math.max(64, Math.floor(d / 4 / 64) * 64);
  const diverse = 4 * Math.ceil(lanes / 32);
  const row = {
    turbo: filledUp(16 + 14 * lanes + diverse, 64) + (lanes * values) / 8,
    compact: filledUp(16 + 10 * lanes + diverse, 64) + (lanes * projected) / 8,
    small: filledUp(filledUp(16 + 6 * lanes + diverse, 16) + 16 + values / 4, 64),
  }[profile];
  const upper = (4 + 4 * m) / (m - 1); // 1 / (m - 1) upper lists a node, where hnsw_ml is left out
  return { vector, row, upper, beside: 48 + 16 + 1 };
}

/** Bytes of index.hebb for each vector. */
export function bytesPerVector(sizing: Sizing): number {
  const { vector, row, upper, beside } = partsOf(sizing);
  return vector + row + upper + beside;
}
