/** `bench tiers`: its parts one after the other, and the record of them all. */
import { type Claim, printClaims } from "../claims.js";
import { writeRecord } from "../record.js";
import { type CodecsResult, measureCodecs } from "./codecs.js";
import type { TiersOptions } from "./options.js";
import { measureRecall, type SetRecall } from "./recall.js";
import { measureSemantic, type SemanticResult } from "./semantic.js";
import { measureStores, type StoreResult } from "./store.js";
import { measureTrace, type TraceResult } from "./traces.js";

export async function runTiers(options: TiersOptions): Promise<boolean> {
  const { parts, smoke } = options;
  const claims: Claim[] = [];
  const recall: SetRecall[] = [];
  const store: StoreResult[] = [];
  const traces: TraceResult[] = [];
  let codecs: CodecsResult | undefined;
  let semantic: SemanticResult | undefined;
  if (parts.includes("recall")) {
    for (const spec of options.sets) recall.push(await measureRecall(spec, claims, smoke));
  }
  if (parts.includes("codecs")) codecs = await measureCodecs(options, claims);
  if (parts.includes("store")) {
    for (const spec of options.stores) store.push(...(await measureStores(spec, options, claims)));
  }
  if (parts.includes("traces")) {
    for (const spec of options.traces) traces.push(await measureTrace(spec, claims));
  }
  if (parts.includes("semantic")) semantic = await measureSemantic(options);

  const held = smoke ? claims.filter(({ kind }) => kind === "assertion") : claims;
  const stem = writeRecord(options.out, options.name, {
    bench: "tiers",
    data: options.sets.map(({ data }) => data).join(" "),
    settings: {
      parts,
      sets: options.sets,
      stores: options.stores,
      fresh: options.fresh,
      m: options.m,
      efConstruction: options.efConstruction,
      repeats: options.repeats,
      traces: options.traces,
      semantic: options.semantic,
      durability: "off",
    },
    claims: held,
    results: { recall, codecs, store, traces, semantic },
  });
  console.log(`\nrecord ${stem}.json\n`);
  return printClaims(held);
}
