/** The path of the compiled VFS, which is compiled where it is missing or older than its source. */
export function buildTraceVfs(): string;
