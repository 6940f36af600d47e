/**
 * Waits for all, also where one fails, so that nothing is under way any more when this returns; then throws the first
 * failure.
 */
export async function allDone<T>(work: Iterable<Promise<T>>): Promise<T[]> {
  const results = await Promise.allSettled(work);
  return results.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });
}
