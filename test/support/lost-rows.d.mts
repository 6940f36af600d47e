export const DIMENSIONS: number;
export function vectorOf(n: number): Float32Array;
export function rowOf(n: number): { id: number; vector: Float32Array; payload: { n: number } };
