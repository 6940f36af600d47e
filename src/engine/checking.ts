/** The whole check: files, catalog, and whether graph and catalog tell the same story. */
import { HebbError } from "../../base/errors.js";
import type { Fault } from "../types.js";
import type { Session } from "./session.js";
import { inSlices } from "./slices.js";
import { idKey } from "./validate.js";

/** Of faults of one kind, so many are listed; the rest is counted. */
const LISTED = 20;

/** To be run while nothing writes (`Session.alone`): what is compared spans many turns of the event loop. */
export async function checkStore(session: Session): Promise<Fault[]> {
  const { store, catalog, graph } = session;
  const faults: Fault[] = [...(await store.check()), ...(await catalog.check())];
  if (faults.length > 0) return faults; // what is damaged need not agree
  return await crossCheck(session, graph.live);
}

async function crossCheck({ catalog, graph, searcher }: Session, live: number): Promise<Fault[]> {
  const faults: Fault[] = [];
  let more = 0;
  const add = (message: string, offset: number) => {
    if (faults.length < LISTED) faults.push({ code: "INDEX_CORRUPT", section: "ids", offset, message });
    else more++;
  };
  let rows = 0;
  await inSlices(catalog.entries(), ({ node, id }) => {
    if (!graph.isLive(node)) {
      add(`the catalog has id ${JSON.stringify(id)} at node ${node}, which is not live in the graph`, node);
      return;
    }
    rows++;
    if (!graph.readable(node)) {
      add(`the vector of id ${JSON.stringify(id)} cannot be read: its record or its codebook is damaged`, node);
    }
    const [stored] = searcher.ids(Uint32Array.of(node), 1);
    if (idKey(stored) !== idKey(id))
      add(`node ${node} is ${JSON.stringify(stored)} in the graph and ${JSON.stringify(id)} in the catalog`, node);
  });
  try {
    graph.checkTiers();
  } catch (error) {
    if (!(error instanceof HebbError)) throw error;
    faults.push({ code: error.code, section: "places", offset: 0, message: error.message });
  }
  if (rows !== live) add(`the graph has ${live} live nodes, the catalog ${rows} of them`, 0);
  if (more > 0)
    faults.push({ code: "INDEX_CORRUPT", section: "ids", offset: 0, message: `and ${more} more of this kind` });
  return faults;
}
