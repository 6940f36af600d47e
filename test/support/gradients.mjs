/** Vectors and gradients that a test and its child make alike; sums of these depend on their order in f32. */
export const OPTIMIZERS = ["adamw", "adam", "sgd"];

const made = (a, b, c, d) =>
  Float32Array.from({ length: d }, (_, i) => (((a * 31 + b * 17 + c * 5 + i * 7) % 97) - 48.5) / 7);

export const vectorFor = (id, op, d) => made(id, op, 0, d);
export const gradientFor = (id, op, i, d) => made(id, op, i + 1, d);
