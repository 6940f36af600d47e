/** Numbers, in an open store's region, of the sections that learning keeps: they follow the graph's. */
import { GRAPH_SECTIONS } from "../../native/graph.js";

export const GRADIENT_SECTIONS = ["gradients", "gradient-values"] as const;

export const LEARNED_SECTIONS: ReadonlyMap<string, number> = new Map(
  ["overlay", "parameters", "edges", "network", ...GRADIENT_SECTIONS].map((name, i) => [
    name,
    GRAPH_SECTIONS.length + i,
  ]),
);
