/** Texts to vectors: the user's encoder, or the built-in one whose fit the store keeps. */
import { HebbError } from "../../base/errors.js";
import { HashedTfidf } from "../text/hashed-tfidf.js";
import { BUILT_IN_ENCODER, type Encoder } from "../types.js";
import { checkVector, show } from "./validate.js";

/** The setting that keeps the built-in encoder's fit; empty before the first. */
export const ENCODER_SETTING = "encoder";
/** The setting that says, where it is there, that no other fit may follow. */
export const FROZEN_SETTING = "encoder-frozen";
const SEED = 0x68656262;

/** @throws {TypeError} unless an encoder or undefined */
export function checkEncoder(given: unknown): void {
  if (given === undefined || given === BUILT_IN_ENCODER || typeof given === "function") return;
  throw new TypeError(
    `encoder is ${show(given)}; expected a function (texts) => Promise<Float32Array[]>, or "${BUILT_IN_ENCODER}"`,
  );
}

export class TextEncoder {
  private constructor(
    private readonly dimensions: number,
    private readonly cosine: boolean,
    private readonly custom: Encoder | undefined,
    private builtIn: HashedTfidf | undefined,
    private frozen: boolean,
  ) {}

  /**
   * @param given what `open` was called with
   * @param stored the fit that the store keeps, when it was made with the built-in encoder
   * @param frozen whether the store wants no other fit
   */
  static of(
    dimensions: number,
    cosine: boolean,
    given: Encoder | string | undefined,
    stored: Uint8Array | undefined,
    frozen: boolean,
  ): TextEncoder {
    if (typeof given === "function") {
      if (stored !== undefined) {
        throw new HebbError(
          "STORE_MISMATCH",
          `the store was made with the encoder "${BUILT_IN_ENCODER}"; leave encoder out, or build a new store with yours`,
        );
      }
      return new TextEncoder(dimensions, cosine, given, undefined, true);
    }
    const builtIn = given !== undefined || stored !== undefined ? new HashedTfidf(dimensions, SEED, stored) : undefined;
    return new TextEncoder(dimensions, cosine, undefined, builtIn, frozen);
  }

  get name(): string | undefined {
    return this.custom ? "custom" : this.builtIn ? BUILT_IN_ENCODER : undefined;
  }

  /** The built-in encoder as it is fitted now: another object after `adopt`. Undefined for any other encoder. */
  get fit(): HashedTfidf | undefined {
    return this.builtIn;
  }

  /** A built-in encoder of this store that no texts were fitted to. */
  unfitted(): HashedTfidf {
    return new HashedTfidf(this.dimensions, SEED);
  }

  /** Encodes by another fit from now on. */
  adopt(fit: HashedTfidf): void {
    this.builtIn = fit;
  }

  /** Whether the store holds texts that could not be encoded again, so that the fit has to stay. */
  get isFrozen(): boolean {
    return this.frozen;
  }

  freeze(): void {
    this.frozen = true;
  }

  /** The vector of the text of a query, which errors call `what`. @throws {HebbError} NO_ENCODER, ENCODER_FAILED */
  async encodeQuery(what: string, text: unknown): Promise<Float32Array> {
    if (typeof text !== "string") throw new TypeError(`text of ${what} is ${show(text)}; expected a string`);
    const [vector] = await this.encode([text], () => `text of ${what}`);
    return vector;
  }

  /**
   * One vector a text.
   * @param nameOf what an error calls text i of the built-in encoder
   * @throws {HebbError} NO_ENCODER, ENCODER_FAILED
   */
  async encode(texts: string[], nameOf?: (i: number) => string): Promise<Float32Array[]> {
    if (this.builtIn) return this.builtIn.encode(texts, nameOf);
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
