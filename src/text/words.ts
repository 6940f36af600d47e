/**
 * From a text to its terms, each as a 32-bit hash: words of letters and digits, lower case, with
 * common English endings taken off. Scripts written without spaces (Chinese, Japanese, Thai and
 * others) are cut into overlapping pairs of characters.
 */

const WORD = /[\p{L}\p{M}\p{N}]+/gu;
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;
// biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII is meant, all of it
const ASCII = /^[\x00-\x7f]*$/;

/** Words of English that say nothing about a text's subject. */
const STOP_WORDS = new Set(
  (
    "a about above after again against all also am an and any are as at be because been before being below between " +
    "both but by can could did do does doing down during each few for from further had has have having he her here " +
    "hers him his how i if in into is it its itself just me more most my no nor not now of off on once only or other " +
    "our out over own same she should so some such than that the their them then there these they this those through " +
    "to too under until up upon us very was we were what when where which while who whom whose why will with would " +
    "you your"
  ).split(" "),
);

/** Words remembered with their hash: a few thousand make up most of any text. Cleared when full. */
const REMEMBERED_WORDS = 65536;
/** Stands for the hash of a stop word. */
const STOPPED = -1;

/** Counts the terms of texts under one seed of the hash; only texts counted under the same seed can be compared. */
export class TermCounter {
  private readonly remembered = new Map<string, number>();

  constructor(private readonly seed: number) {}

  /**
   * How often each term occurs in a text, by hash. A text of stop words alone keeps them; one
   * without letters and digits has no terms.
   */
  count(text: string): Map<number, number> {
    const words = (ASCII.test(text) ? text : text.normalize("NFKC")).toLowerCase().match(WORD) ?? [];
    const counts = new Map<number, number>();
    for (const word of words) {
      if (!ASCII.test(word) && UNSPACED.test(word)) {
        for (const pair of pairsOf(word)) add(counts, hashOf(pair, this.seed));
      } else {
        const hash = this.lookUp(word);
        if (hash !== STOPPED) add(counts, hash);
      }
    }
    if (counts.size === 0) for (const word of words) add(counts, hashOf(stem(word), this.seed));
    return counts;
  }

  private lookUp(word: string): number {
    let hash = this.remembered.get(word);
    if (hash === undefined) {
      hash = STOP_WORDS.has(word) ? STOPPED : hashOf(stem(word), this.seed);
      if (this.remembered.size >= REMEMBERED_WORDS) this.remembered.clear();
      this.remembered.set(word, hash);
    }
    return hash;
  }
}

const add = (counts: Map<number, number>, hash: number): void => {
  counts.set(hash, (counts.get(hash) ?? 0) + 1);
};

function pairsOf(word: string): string[] {
  const characters = Array.from(word);
  return Array.from({ length: Math.max(1, characters.length - 1) }, (_, i) => characters.slice(i, i + 2).join(""));
}

/**
 * Takes common English endings off: plurals (after Harman 1991's S-stemmer), -ing, -ed, -ly, a
 * final e, and a doubled last consonant. Lighter than Porter's: what it joins belongs together.
 */
export function stem(word: string): string {
  let w = word;
  if (w.length > 4 && w.endsWith("ies")) w = `${w.slice(0, -3)}y`;
  else if (/(?:ss|x|ch|sh)es$/.test(w)) w = w.slice(0, -2);
  else if (w.length > 3 && w.endsWith("s") && !/[sui]s$/.test(w)) w = w.slice(0, -1);
  if (w.length > 5 && w.endsWith("ing")) w = w.slice(0, -3);
  else if (w.length > 4 && w.endsWith("ed")) w = w.slice(0, -2);
  else if (w.length > 5 && w.endsWith("ly")) w = w.slice(0, -2);
  if (w.length > 4 && w.endsWith("e")) w = w.slice(0, -1);
  if (w.length > 3 && w.at(-1) === w.at(-2) && !/[aeiouls]$/.test(w)) w = w.slice(0, -1);
  return w;
}

/** FNV-1a over the UTF-16 code units, with MurmurHash3's finalizer so that every bit counts. */
function hashOf(term: string, seed: number): number {
  let h = (0x811c9dc5 ^ seed) >>> 0;
  for (let i = 0; i < term.length; i++) h = Math.imul(h ^ term.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
