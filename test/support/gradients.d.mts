import type { Optimizer } from "../../training/optimizer.js";
export const OPTIMIZERS: Optimizer[];
export const vectorFor: (id: number, op: number, d: number) => Float32Array;
export const gradientFor: (id: number, op: number, i: number, d: number) => Float32Array;
