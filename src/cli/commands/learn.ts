import { type Command, InvalidArgumentError } from "commander";
import { reasonOf } from "../../../base/errors.js";
import { type Feedback, HebbError, type Id } from "../../index.js";
import { idsOf } from "../arguments.js";
import { ByteReader } from "../byte-reader.js";
import { print } from "../print.js";
import { counted, formatCount, formatDuration, Progress } from "../progress.js";
import { type FeedbackLine, readFeedback } from "../read-feedback.js";
import { withStore } from "../store.js";

/** Events that are learned from at once: all of them or none. */
const BATCH = 64;

interface LearnOptions {
  query?: string;
  chosen?: Id[];
  shown?: Id[];
  rejected?: Id[];
  source?: string;
  json?: boolean;
}

export function learnCommand(program: Command): void {
  program
    .command("learn")
    .summary("learn from what somebody chose")
    .description(
      'Learns from feedback: which rows were relevant to which query. What it learned shows in "hebb query" once the gate finds that it helps.',
    )
    .argument("<store>", "directory of the store")
    .argument("[file]", ".jsonl file of events, may be gzipped")
    .option("-q, --query <text>", "instead of a file: the words of the query", textOf)
    .option("-c, --chosen <id>", "an id that was relevant; may be repeated", idsOf)
    .option("-s, --shown <id>", "an id that was displayed; may be repeated", idsOf)
    .option("-r, --rejected <id>", "an id that was wrong; may be repeated", idsOf)
    .option("--source <name>", "who it comes from")
    .option("--json", "print one line of JSON")
    .addHelpText(
      "after",
      `
A file has one event per line: {"query": "some words", "chosen": ["a.md"], "shown": ["b.md", "a.md"]}
  query      a text, a vector [...], {"id": ...} or {"positive": [...], "negative": [...], "weights": [...]}
  chosen     ids that were relevant, or {"id": ..., "grade": 2}
  shown      ids that were displayed, in order
  rejected   ids that were marked as wrong
  source     who it comes from
  time       milliseconds since 1970; now where it is left out

Examples:
  hebb learn notes.hebb --query "parse arguments" --chosen commander/Readme.md
  hebb learn notes.hebb clicks.jsonl`,
    )
    .action(learn);
}

async function learn(store: string, file: string | undefined, options: LearnOptions): Promise<void> {
  const { query, json } = options;
  if ((file === undefined) === (query === undefined)) {
    throw new TypeError("learn takes either a file of events or --query with --chosen");
  }
  const reader = file === undefined ? undefined : await ByteReader.open(file);
  const events = reader === undefined ? [{ line: 1, event: eventOf(options) }] : readFeedback(reader);
  const report = await withStore(store, {}, async (index) => {
    const progress = new Progress("learning", "events");
    let learned = 0;
    let batch: FeedbackLine[] = [];
    const flush = async () => {
      try {
        await index.learn(batch.map(({ event }) => event));
      } catch (cause) {
        if (reader === undefined) throw cause;
        const [first, last] = [batch[0]!.line, batch.at(-1)!.line];
        throw new HebbError(
          "BATCH_INCOMPLETE",
          `${counted(learned, "event")} learned, and those from line ${first} on are not (in lines ${first} to ${last}: ${reasonOf(cause)})`,
          { learned },
          cause,
        );
      }
      learned += batch.length;
      batch = [];
      progress.update(learned, reader?.fraction);
    };
    try {
      for await (const line of events) if (batch.push(line) === BATCH) await flush();
      if (batch.length > 0) await flush();
      if (learned === 0) throw new HebbError("FILE_UNSUPPORTED", `${file} holds no events`, { path: file });
    } finally {
      progress.stop();
    }
    return { learned, seconds: progress.seconds, learning: index.stats().learning };
  });
  print(
    json,
    { store, ...report },
    () =>
      `${counted(report.learned, "event")} learned in ${formatDuration(report.seconds)}; the store has ${formatCount(report.learning.events)}. "hebb train ${store}" trains on all of them.`,
  );
}

function eventOf({ query, chosen, shown, rejected, source }: LearnOptions): Feedback {
  if (query === undefined || chosen === undefined) throw new TypeError("--query needs at least one --chosen <id>");
  return {
    query: { text: query },
    chosen,
    ...(shown && { shown }),
    ...(rejected && { rejected }),
    ...(source !== undefined && { source }),
  };
}

function textOf(text: string): string {
  if (text.trim() === "") throw new InvalidArgumentError("expected words");
  return text;
}
