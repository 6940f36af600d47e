/**
 * Texts on their way into the store. The built-in encoder is fitted to the first ones, and its fit
 * follows the store while it is young: whenever a quarter more texts are there than were fitted, it is
 * fitted again to those stored and those coming, and the stored ones get their new vectors in the same
 * group of the log, and keep their learned edges. So one space holds all texts at any moment, after a crash too.
 *
 * A row can be encoded again while its vector is, bit for bit, what its payload's `text` encodes to.
 * A text put without that `text`, or a row that loses it, freezes the fit for good (a setting says so),
 * for it would stay behind in a space that nothing is compared in any more. Feedback freezes it too:
 * what was learned belongs to the space of its day. Rows put with vectors of their own are left alone.
 */

import { inSlices } from "../../base/slices.js";
import type { Id } from "../../base/types.js";
import { FIT_TEXTS, type HashedTfidf } from "../text/hashed-tfidf.js";
import { type Change, changeOf } from "./changes.js";
import { ENCODER_SETTING, FROZEN_SETTING } from "./encoding.js";
import {
  type GroupNames,
  type NewRows,
  type Operation,
  type Planned,
  payloadOperation,
  putOperation,
} from "./planning.js";
import { encodeSetting, RECORD } from "./records.js";
import type { Session } from "./session.js";
import { idKey, parsePayload } from "./validate.js";

/** Stored rows that a fit may have to look through, texts or not. */
const MOST_ROWS = 4 * FIT_TEXTS;

/** A row that is to get the vector of a text. */
export interface TextRow {
  row: number;
  text: string;
}

/** A row whose vector is that of its payload's text. */
interface StoredText {
  id: Id;
  payload: string;
  text: string;
}

export class TextWriter {
  /** Settles when the fit under way is written, or has failed. */
  private fitting: Promise<void> | undefined;
  /** Texts put since opening, and those of them that are not in the graph yet. */
  private begun = 0;
  private coming = 0;
  /** Until so many were put, looking for stored ones again is not worth it. */
  private lookAgainAt = 0;

  constructor(private readonly session: Session) {}

  /** Puts rows, those of `texts` with the vectors of their texts. Resolves once they are durable and searchable. */
  put(rows: NewRows, texts: readonly TextRow[]): Promise<void> {
    if (texts.length === 0) return this.session.put(rows);
    return this.session.put(rows, () => this.write({ ...rows, settings: [...rows.settings] }, texts));
  }

  private async write(rows: NewRows, texts: readonly TextRow[]): Promise<void> {
    const { session } = this;
    const { encoder } = session;
    if (encoder.fit === undefined) {
      this.fill(rows, texts, await encoder.encode(texts.map(({ text }) => text)));
      return session.write(putOperation(rows, session.dimensions), rows.vectors.byteLength);
    }
    while (this.fitting) await this.fitting;
    this.begun += texts.length;
    this.coming += texts.length;
    try {
      if (this.mayFit()) {
        const written = session.logAlone((names) => this.fitAndPlan(rows, texts, names));
        this.fitting = written.then(
          () => {},
          () => {}, // whoever asked gets the error
        );
        await written.finally(() => {
          this.fitting = undefined;
        });
      } else {
        // Encoded and queued in one turn: a fit, which runs alone, finds in the store what the one before it encoded.
        await session.write(this.encoded(rows, texts, encoder.fit), rows.vectors.byteLength);
      }
    } finally {
      this.coming -= texts.length;
    }
  }

  /** Replaces the payload of one row. */
  setPayload(id: Id, payload: string | undefined): Promise<void> {
    const operation = payloadOperation(id, payload);
    const plan: Operation["plan"] = async (parts, names) => {
      const planned = await operation.plan(parts, names);
      return planned && this.losesText(names.nodeOf(id), payload) ? this.freezing(planned) : planned;
    };
    return this.session.write({ plan }, payload?.length ?? 0);
  }

  /** Whether fitting may be worth it. A guess by the number of rows, which need not all be texts. */
  private mayFit(): boolean {
    const { encoder, graph, catalog } = this.session;
    const fit = encoder.fit;
    if (fit === undefined) return false;
    if (fit.fittedTexts === 0) return true;
    if (encoder.isFrozen || catalog.feedbackCount > 0 || graph.live > MOST_ROWS) return false;
    return this.begun >= this.lookAgainAt && graph.live + this.coming >= fit.nextFit;
  }

  /** Runs while nothing else is written. */
  private async fitAndPlan(rows: NewRows, texts: readonly TextRow[], names: GroupNames): Promise<Planned | undefined> {
    const { session } = this;
    const { encoder, graph, dimensions } = session;
    const fit = encoder.fit!;
    const stored = fit.fittedTexts > 0 && this.mayFit() ? await this.storedTexts(fit, rows) : [];
    const count = stored.length + texts.length;
    const isWorthIt = fit.fittedTexts === 0 || (stored.length > 0 && count >= fit.nextFit);
    const hasRoom = graph.live + stored.length + rows.ids.length <= session.config.ruvector.max_nodes;
    if (!isWorthIt || (stored.length > 0 && !hasRoom)) {
      this.lookAgainAt = this.begun + Math.max(1, fit.nextFit - count);
      return this.encoded(rows, texts, fit).plan(session, names);
    }
    const fresh = encoder.unfitted();
    await fresh.fit([...stored, ...texts].map(({ text }) => text));
    const vectors = new Float32Array((stored.length + rows.ids.length) * dimensions);
    await inSlices(stored, ({ text }, i) => {
      vectors.set(fresh.encode([text])[0], i * dimensions);
    });
    rows.settings.push({ name: ENCODER_SETTING, value: fresh.state() });
    const operation = this.encoded(rows, texts, fresh, (all) => {
      vectors.set(all.vectors, stored.length * dimensions);
      return {
        ids: [...stored.map(({ id }) => id), ...all.ids],
        payloads: [...stored.map(({ payload }) => payload), ...all.payloads],
        vectors,
        settings: all.settings,
        same: stored.length,
      };
    });
    const planned = await operation.plan(session, names);
    return planned && { ...planned, changes: (first, last) => this.adopting(planned.changes(first, last), fresh) };
  }

  /** Queries are encoded by the new fit from the very moment on at which its vectors show. */
  private adopting(changes: Change[], fit: HashedTfidf): Change[] {
    return changes.map((change) => {
      if (change.nodes === undefined) return change;
      const publish = () => {
        change.publish?.();
        this.session.encoder.adopt(fit);
      };
      return { ...change, publish };
    });
  }

  /** Puts rows with the vectors that `fit` gives their texts; `extend` may add rows. */
  private encoded(
    rows: NewRows,
    texts: readonly TextRow[],
    fit: HashedTfidf,
    extend = (all: NewRows): NewRows => all,
  ): Operation {
    this.fill(rows, texts, fit.encode(texts.map(({ text }) => text)));
    const put = putOperation(extend(rows), this.session.dimensions);
    const isKept =
      this.session.encoder.isFrozen || texts.every(({ row, text }) => parsePayload(rows.payloads[row])?.text === text);
    if (isKept) return put;
    return {
      plan: async (parts, names) => {
        const planned = await put.plan(parts, names);
        return planned && this.freezing(planned);
      },
    };
  }

  private fill(rows: NewRows, texts: readonly TextRow[], vectors: readonly Float32Array[]): void {
    vectors.forEach((vector, i) => {
      rows.vectors.set(vector, texts[i].row * this.session.dimensions);
    });
  }

  /** Rows whose vectors are those of their payloads' texts, but for those about to be replaced. */
  private async storedTexts(fit: HashedTfidf, coming: NewRows): Promise<StoredText[]> {
    const { graph, catalog } = this.session;
    const replaced = new Set(coming.ids.map(idKey));
    const found: StoredText[] = [];
    await inSlices(catalog.entries(), ({ node, id, payload }) => {
      const text = payload?.text;
      if (typeof text !== "string" || !graph.isLive(node) || replaced.has(idKey(id))) return;
      if (this.isEncoded(node, text, fit)) found.push({ id, payload: JSON.stringify(payload), text });
    });
    return found;
  }

  private isEncoded(node: number, text: string, fit: HashedTfidf): boolean {
    const vector = fit.vectorOf(text);
    const stored = this.session.graph.vector(node);
    return vector?.every((x, i) => x === stored[i]) ?? false;
  }

  /** Whether a row could be encoded again, and will not with this payload. */
  private losesText(node: number | undefined, payload: string | undefined): boolean {
    const { encoder, catalog } = this.session;
    const { fit } = encoder;
    if (fit === undefined || fit.fittedTexts === 0 || encoder.isFrozen || node === undefined) return false;
    if (catalog.idOf(node) === undefined) return true; // put in the same group: nobody knows yet
    const text = catalog.payloads([node], 1)[0]?.text;
    if (typeof text !== "string" || text === parsePayload(payload)?.text) return false;
    return this.isEncoded(node, text, fit);
  }

  /** The same, and the fit frozen with it. */
  private freezing(planned: Planned): Planned {
    const { session } = this;
    if (session.encoder.isFrozen) return planned;
    const payload = encodeSetting(FROZEN_SETTING, Uint8Array.of(1));
    return {
      records: [...planned.records, { type: RECORD.setting, payload }],
      changes: (first, last) => [
        ...planned.changes(first, last - 1),
        changeOf(session, last, RECORD.setting, Buffer.concat(payload)),
      ],
      remember(names) {
        planned.remember(names);
        session.encoder.freeze();
      },
      abandon: () => planned.abandon(),
    };
  }
}
