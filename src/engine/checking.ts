/** The whole check: files, catalog, and whether graph and catalog tell the same story. */
import { HebbError } from "../../base/errors.js";
import { inSlices } from "../../base/slices.js";
import type { Fault, Id } from "../types.js";
import type { Session } from "./session.js";
import { idKey } from "./validate.js";

/** Of faults of one kind, so many are listed; the rest is counted. */
const LISTED = 20;

/** To be run while nothing writes (`Session.alone`): what is compared spans many turns of the event loop. */
export async function checkStore(session: Session): Promise<Fault[]> {
  const { store, catalog, graph } = session;
  const [damage, catalogDamage] = [await store.check(), await catalog.check()];
  const faults: Fault[] = [...damage, ...catalogDamage];
  if (catalogDamage.length > 0) return faults;
  if (damage.length > 0) return [...faults, ...(await lostVectors(session))]; // what is damaged need not agree
  return await crossCheck(session, graph.live);
}

/** The ids whose vectors are in what is damaged. */
async function lostVectors({ catalog, graph }: Session): Promise<Fault[]> {
  const found = new Findings();
  await inSlices(catalog.entries(), ({ node, id }) => {
    if (graph.isLive(node) && !graph.readable(node)) found.add(unreadable(id), node);
  });
  return found.all;
}

const unreadable = (id: Id) =>
  `the vector of id ${JSON.stringify(id)} cannot be read: its place, its record or its codebook is damaged`;

/** Faults of ids, of which the first are listed. */
class Findings {
  private readonly faults: Fault[] = [];
  private more = 0;

  constructor(private readonly section = "ids") {}

  add(message: string, offset: number): void {
    if (this.faults.length < LISTED)
      this.faults.push({ code: "INDEX_CORRUPT", section: this.section, offset, message });
    else this.more++;
  }

  get all(): Fault[] {
    if (this.more === 0) return this.faults;
    const message = `and ${this.more} more of this kind`;
    return [...this.faults, { code: "INDEX_CORRUPT", section: this.section, offset: 0, message }];
  }
}

async function crossCheck({ catalog, graph, gradients, searcher }: Session, live: number): Promise<Fault[]> {
  const found = new Findings();
  let rows = 0;
  await inSlices(catalog.entries(), ({ node, id }) => {
    if (!graph.isLive(node)) {
      found.add(`the catalog has id ${JSON.stringify(id)} at node ${node}, which is not live in the graph`, node);
      return;
    }
    rows++;
    if (!graph.readable(node)) found.add(unreadable(id), node);
    const [stored] = searcher.ids(Uint32Array.of(node), 1);
    if (idKey(stored) !== idKey(id))
      found.add(
        `node ${node} is ${JSON.stringify(stored)} in the graph and ${JSON.stringify(id)} in the catalog`,
        node,
      );
  });
  if (rows !== live) found.add(`the graph has ${live} live nodes, the catalog ${rows} of them`, 0);
  const faults = found.all;
  try {
    graph.checkTiers();
  } catch (error) {
    if (!(error instanceof HebbError)) throw error;
    faults.push({ code: error.code, section: "places", offset: 0, message: error.message });
  }
  const slots = new Findings("gradients");
  for (const { slot, message } of gradients.faults((node) => graph.isLive(node))) {
    slots.add(message, slot);
  }
  return [...faults, ...slots.all];
}
