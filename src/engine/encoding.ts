/** Texts to vectors: the user's encoder, or the built-in one whose fit the store keeps. */
import { HebbError } from "../../base/errors.js";
import { HashedTfidf } from "../text/hashed-tfidf.js";
import { BUILT_IN_ENCODER, type Encoder } from "../types.js";
import { checkVector, show } from "./validate.js";

/** The setting that keeps the built-in encoder's fit. */
export const ENCODER_SETTING = "encoder";
const SEED = 0x68656262;

/** @throws {TypeError} unless an encoder or undefined */
export function checkEncoder(given: unknown): void {
  if (given === undefined || given === BUILT_IN_ENCODER || typeof given === "function") return;
  throw new TypeError(
    `encoder is ${show(given)}; expected a function (texts) => Promise<Float32Array[]>, or "${BUILT_IN_ENCODER}"`,
  );
}

export class TextEncoder {
  /** Settles when the first texts are written, or have failed. */
  private fitting: Promise<void> | undefined;

  private constructor(
    private readonly dimensions: number,
    private readonly cosine: boolean,
    private readonly custom: Encoder | undefined,
    private builtIn: HashedTfidf | undefined,
  ) {}

  /**
   * @param given what `open` was called with
   * @param stored the fit that the store keeps, when it was made with the built-in encoder
   */
  static of(
    dimensions: number,
    cosine: boolean,
    given: Encoder | string | undefined,
    stored: Uint8Array | undefined,
  ): TextEncoder {
    if (typeof given === "function") {
      if (stored !== undefined) {
        throw new HebbError(
          "STORE_MISMATCH",
          `the store's texts were encoded by "${BUILT_IN_ENCODER}"; leave encoder out, or build a new store with yours`,
        );
      }
      return new TextEncoder(dimensions, cosine, given, undefined);
    }
    const builtIn = given !== undefined || stored !== undefined ? new HashedTfidf(dimensions, SEED, stored) : undefined;
    return new TextEncoder(dimensions, cosine, undefined, builtIn);
  }

  get name(): string | undefined {
    return this.custom ? "custom" : this.builtIn ? BUILT_IN_ENCODER : undefined;
  }

  /**
   * Encodes texts that the store is to keep, and hands them to `write`. The first texts of all fit
   * the built-in encoder: then `fit` is what the store has to keep with them. Until that is written,
   * other texts wait; where it fails, the encoder stays as it was.
   */
  async encodeFor(texts: string[], write: (vectors: Float32Array[], fit?: Uint8Array) => Promise<void>): Promise<void> {
    while (this.fitting) await this.fitting;
    if (!this.builtIn || this.builtIn.fittedTexts > 0) return write(await this.encode(texts));
    const first = this.writeFirst(texts, write);
    this.fitting = first.then(
      () => {},
      () => {}, // whoever asked gets the error
    );
    try {
      await first;
    } finally {
      this.fitting = undefined;
    }
  }

  private async writeFirst(
    texts: string[],
    write: (vectors: Float32Array[], fit: Uint8Array) => Promise<void>,
  ): Promise<void> {
    const fitted = new HashedTfidf(this.dimensions, SEED);
    await fitted.fit(texts);
    await write(fitted.encode(texts), fitted.state());
    this.builtIn = fitted;
  }

  /** One vector a text. @throws {HebbError} NO_ENCODER, ENCODER_FAILED */
  async encode(texts: string[]): Promise<Float32Array[]> {
    for (const text of texts) {
      if (typeof text !== "string") throw new TypeError(`text is ${show(text)}; expected a string`);
    }
    if (this.builtIn) return this.builtIn.encode(texts);
    if (!this.custom) {
      throw new HebbError(
        "NO_ENCODER",
        `a text needs an encoder; open the index with encoder: (texts) => Promise<Float32Array[]>, or "${BUILT_IN_ENCODER}" when creating it`,
      );
    }
    let vectors: unknown;
    try {
      vectors = await this.custom([...texts]);
    } catch (cause) {
      throw new HebbError(
        "ENCODER_FAILED",
        `the encoder threw: ${(cause as Error)?.message ?? String(cause)}`,
        {},
        cause,
      );
    }
    if (!Array.isArray(vectors) || vectors.length !== texts.length) {
      throw new HebbError(
        "ENCODER_FAILED",
        `the encoder returned ${show(vectors)} for ${texts.length} texts; expected as many Float32Arrays`,
      );
    }
    return vectors.map((vector, i) => {
      try {
        return checkVector(`the encoder's vector for text ${i}`, vector, this.dimensions, this.cosine);
      } catch (cause) {
        throw new HebbError("ENCODER_FAILED", (cause as Error).message, {}, cause);
      }
    });
  }
}
