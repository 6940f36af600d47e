import { type Command, InvalidArgumentError } from "commander";
import { type Filter, HebbError, type Id, type Index, type Query, type QueryResult } from "../../index.js";
import { QUERY_MODES, type QueryMode } from "../../types.js";
import { filterOf, idOf, idsOf, integerOf, numberOf, vectorOf, weightsOf } from "../arguments.js";
import { hitTable, print } from "../print.js";
import { counted, formatDuration } from "../progress.js";
import { warn, withStore } from "../store.js";
import { printable } from "../terminal.js";

/** What `search` and `query` share. */
interface AskOptions {
  vector?: Float32Array;
  id?: Id;
  k: number;
  ef?: number;
  filter?: Filter;
  maxDistance?: number;
  hybrid?: boolean;
  json?: boolean;
}

interface SearchCommandOptions extends AskOptions {
  exact?: boolean;
}

interface QueryCommandOptions extends AskOptions {
  mode: Query["mode"];
  positive?: Id[];
  negative?: Id[];
  weight?: number[];
}

/** `hebb search`: the nearest, without anything learned. */
export function searchCommand(program: Command): void {
  asking(program.command("search"))
    .summary("find the nearest, by text, vector or id")
    .description("Finds the nearest rows by text, vector or stored id, without anything that was learned.")
    .option("--exact", "compare with every vector (vectors and ids only)")
    .addHelpText(
      "after",
      `
Examples:
  hebb search notes.hebb "parse command line arguments" -k 5
  hebb search images.hebb --id 42 --filter '{"year":{"$gte":2020}}'`,
    )
    .action(async (store: string, words: string[], options: SearchCommandOptions) => {
      const query = queryOf(words, options);
      const result = await withStore(store, { readOnly: true }, async (index) => {
        warnIfEmpty(store, index);
        if (!options.exact) return index.query({ ...query, mode: "vector" });
        const vector = query.vector ?? (query.id === undefined ? undefined : index.get(query.id)?.vector);
        if (vector === undefined) {
          if (query.id === undefined) throw new TypeError("--exact compares vectors; give --vector or --id");
          throw new HebbError("UNKNOWN_ID", `id ${JSON.stringify(query.id)} is not in the store`);
        }
        const { k, filter, maxDistance } = query;
        const start = performance.now();
        const found = index.search(vector, {
          k: (k ?? 10) + (query.id === undefined ? 0 : 1),
          exact: true,
          filter,
          maxDistance,
        });
        const hits = found.filter((hit) => hit.id !== query.id).slice(0, k);
        return { hits, latencyMs: performance.now() - start };
      });
      print(options.json, result, () => resultText(result));
    });
}

/** `hebb query`: everything a query can do. */
export function queryCommand(program: Command): void {
  asking(program.command("query"))
    .summary("ask with all that was learned, or by example")
    .description("Asks by text, vector, stored id or examples, with all that was learned from feedback.")
    .option("-m, --mode <mode>", QUERY_MODES.join(" | "), modeOf, "neural")
    .option("-p, --positive <id>", "more like this one; may be repeated", idsOf)
    .option("-n, --negative <id>", "less like this one; may be repeated", idsOf)
    .option("-w, --weight <n>", "of each positive, then of each negative; may be repeated", weightsOf)
    .addHelpText(
      "after",
      `
Examples:
  hebb query notes.hebb "parse command line arguments" --hybrid
  hebb query images.hebb --positive 17 --positive 42 --negative 3 --json`,
    )
    .action(async (store: string, words: string[], options: QueryCommandOptions) => {
      const query: Query = { ...queryOf(words, options), mode: options.mode };
      const result = await withStore(store, { readOnly: true }, async (index) => {
        warnIfEmpty(store, index);
        return index.query(query);
      });
      const { backward: _notData, ...plain } = result;
      print(options.json, plain, () => resultText(result));
    });
}

function warnIfEmpty(store: string, index: Index): void {
  if (index.size === 0) warn([`${store} is empty; "hebb add ${store} <input>" puts rows into it`]);
}

function asking(command: Command): Command {
  return command
    .argument("<store>", "directory of the store")
    .argument("[text...]", "what to look for, in words")
    .option("-v, --vector <json>", "what to look for, as a JSON array of numbers", vectorOf)
    .option("--id <id>", `what to look for: what is like this row (digits are a number; '"42"' is a string)`, idOf)
    .option("-k, --k <n>", "how many results", integerOf, 10)
    .option("-e, --ef <n>", "candidates kept while searching; more finds more and takes longer", integerOf)
    .option("-f, --filter <json>", `only rows whose payload matches, such as '{"lang":"en"}'`, filterOf)
    .option("--max-distance <n>", "leave out what is farther", numberOf)
    .option("--hybrid", "for texts: fuse with full-text search (BM25)")
    .option("--json", "print one line of JSON");
}

/** The query that words and options ask for; exactly one way of asking has to be given. */
function queryOf(words: string[], options: AskOptions & Partial<QueryCommandOptions>): Query {
  const { vector, id, positive, negative, weight, k, ef, filter, maxDistance, hybrid } = options;
  const text = words.join(" ").trim() || undefined;
  const ways = [text, vector, id, positive].filter((way) => way !== undefined).length;
  if (ways !== 1) {
    throw new TypeError(
      `${ways === 0 ? "nothing" : "more than one thing"} to look for; give a text, --vector, --id or --positive`,
    );
  }
  return {
    ...defined({ text, vector, id, positive, negative, weights: weight, ef, filter, maxDistance, hybrid }),
    k,
  };
}

/** Without the fields that are undefined. */
function defined<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

function modeOf(text: string): QueryMode {
  const mode = QUERY_MODES.find((known) => known === text);
  if (mode === undefined) throw new InvalidArgumentError(`expected one of ${QUERY_MODES.join(", ")}`);
  return mode;
}

function resultText({ hits, latencyMs, subgraph, embeddings }: QueryResult): string {
  const lines = [hitTable(hits), "", `${counted(hits.length, "hit")} in ${formatDuration(latencyMs / 1000)}`];
  if (subgraph) {
    lines.push(`${counted(subgraph.edges.length, "edge")} among them:`);
    for (const { from, to, weight } of subgraph.edges)
      lines.push(`  ${printable(`${from} -- ${to}`)}  ${weight.toFixed(4)}`);
  }
  if (embeddings?.[0])
    lines.push(
      `soft vector: [${Array.from(embeddings[0].subarray(0, 4), (x) => x.toFixed(4)).join(", ")}, ...] (--json has all of it)`,
    );
  return lines.join("\n");
}
