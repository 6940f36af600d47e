/** What `bench ann` consists of; each part can be run alone. */

/** On the graph that was built from the data. */
const STORED_PARTS = ["sweep", "profiles", "kernels", "stop", "threads", "reopen", "filters", "churn"] as const;

/** On stores of their own, of generated vectors. */
const GENERATED_PARTS = ["ingest", "scale"] as const;

export const PARTS = [...STORED_PARTS, ...GENERATED_PARTS] as const;
export type Part = (typeof PARTS)[number];

export const hasStored = (parts: readonly Part[]): boolean => STORED_PARTS.some((part) => parts.includes(part));
