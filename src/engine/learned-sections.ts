/** Numbers, in an open store's region, of the sections that learning keeps: they follow the graph's. */
import { GRAPH_SECTIONS } from "../../native/graph.js";
import { LEARNED_SECTIONS as NAMES } from "../../native/layout.js";

export const LEARNED_SECTIONS: ReadonlyMap<string, number> = new Map(
  NAMES.map((name, i) => [name, GRAPH_SECTIONS.length + i]),
);
