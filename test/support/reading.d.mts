export function vectorOf(id: number, op: number, dimensions: number): Float32Array;
