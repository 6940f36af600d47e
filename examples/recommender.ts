/**
 * A recommender that learns online: each like is a test (at which place is it among all that its user does not have yet?)
 * and then a lesson. Beside Hebb's `vector`, which learns nothing, and `neural`, at the same moments: item-kNN with counts
 * that are up to date, and popularity.
 *
 *   npx tsx examples/recommender.ts [likes to replay] [file: user, item, rating, seconds since 1970, with tabs between]
 *
 * It replays Amazon's or MovieLens's likes where they are in ../shared/data or $HEBB_DATA, else generated ones. Expect
 * `neural` to be `vector` until the gate has seen enough, and above it from then on. Who is first depends on the data, and
 * on how long there was to learn. Some fifteen seconds.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { open } from "hebb";

type Like = { user: number; item: number; time: number };
type Question = { positive: number[]; weights: number[] };
type Scores = [item: number, score: number][];
const RANKERS = ["popularity", "item-kNN", "vector", "neural"];
const DIMENSIONS = 64;

const [most = "2000", file] = process.argv.slice(2);
const { name, likes } = readLikes(file);
const known = likes.slice(0, likes.length / 20); // what items' vectors are made of
const stream = likes.slice(known.length, known.length + Number(most));
const items = [...new Set(likes.map(({ item }) => item))];
const popularity = new Map(items.map((item) => [item, 0]));
const together = new Map(items.map((item) => [item, new Map<number, number>()])); // how many liked both
const likedBy = new Map<number, number[]>();
for (const like of known) count(like);
console.log(`${name}: ${items.length} items, ${known.length} likes to begin with, then ${stream.length} one by one.`);

const home = mkdtempSync(join(tmpdir(), "hebb-recommender-"));
const index = await open(join(home, "items.hebb"), {
  dimensions: DIMENSIONS,
  metric: "cosine",
  durability: "interval", // a loss of power may cost the last second
});
try {
  await index.putMany({ ids: items, vectors: itemVectors() });
  const tests: number[][] = []; // nDCG@10 by ranker
  for (const like of stream) {
    const liked = likedBy.get(like.user)?.slice(-20);
    if (liked) {
      const question = { positive: liked, weights: liked.map((_, i) => 0.8 ** (liked.length - 1 - i)) };
      tests.push(await test(question, like));
      await index.learn([{ query: question, chosen: [like.item], source: `user ${like.user}`, time: like.time }]);
    }
    count(like);
  }
  draw(tests);
  const { serving } = index.stats().learning;
  console.log(`\nneural is ${serving === "static" ? "vector: the gate lets nothing serve" : serving.join(" and ")}.`);
} finally {
  await index.close();
  rmSync(home, { recursive: true });
}

async function test(question: Question, { user, item }: Like): Promise<number[]> {
  const has = new Set(likedBy.get(user));
  const ask = async (mode: "vector" | "neural"): Promise<Scores> => {
    const { hits } = await index.query({ ...question, mode, k: 10 + has.size, include: [] });
    return hits.map(({ id, score }) => [Number(id), score]);
  };
  return [[...popularity], itemKnn(question), await ask("vector"), await ask("neural")].map((scores) => {
    const ranked = scores.filter(([other]) => !has.has(other)).sort(([, a], [, b]) => b - a);
    const place = ranked.slice(0, 10).findIndex(([other]) => other === item);
    return place < 0 ? 0 : 1 / Math.log2(place + 2);
  });
}

function itemKnn({ positive, weights }: Question): Scores {
  const scores = new Map<number, number>();
  for (const [i, liked] of positive.entries()) {
    for (const [item, both] of together.get(liked)!) {
      const cosine = both / Math.sqrt((popularity.get(liked)! + 1) * (popularity.get(item)! + 1));
      scores.set(item, (scores.get(item) ?? 0) + weights[i] * cosine);
    }
  }
  return [...scores];
}

function count({ user, item }: Like): void {
  const liked = likedBy.get(user) ?? [];
  for (const other of liked.slice(-50)) {
    together.get(item)!.set(other, (together.get(item)!.get(other) ?? 0) + 1);
    together.get(other)!.set(item, (together.get(other)!.get(item) ?? 0) + 1);
  }
  popularity.set(item, popularity.get(item)! + 1);
  likedBy.set(user, [...liked, item]);
}

/** Of each item the users who like it, counted in as many groups as there are dimensions, and a little of its own. */
function itemVectors(): Float32Array {
  const vectors = new Float32Array(items.length * DIMENSIONS);
  for (const [row, item] of items.entries()) vectors[row * DIMENSIONS + (item % DIMENSIONS)] = 0.5;
  for (const { user, item } of known) vectors[items.indexOf(item) * DIMENSIONS + ((user * 31) % DIMENSIONS)]++;
  return vectors;
}

/** Twelve parts of the stream, a line each: a ranker's first letter stands where its nDCG@10 is. */
function draw(tests: number[][]): void {
  if (tests.length < 12) throw new RangeError(`${tests.length} tests are too few for a curve; replay more likes`);
  const part = (from: number, to: number) => tests.slice(from * tests.length, to * tests.length);
  const means = (some: number[][]) => RANKERS.map((_, r) => some.reduce((sum, one) => sum + one[r], 0) / some.length);
  const curve = Array.from({ length: 12 }, (_, i) => means(part(i / 12, (i + 1) / 12)));
  const top = Math.max(...curve.flat());
  const letters = RANKERS.map((ranker) => `${ranker[0]} ${ranker}`).join(", ");
  console.log(`\nnDCG@10 of ${tests.length} tests in their order, from 0 to ${top.toFixed(3)}: ${letters}`);
  for (const values of curve) {
    const line = Array<string>(80).fill(" ");
    for (const [r, value] of values.entries()) line[Math.round((79 * value) / top)] = RANKERS[r][0];
    console.log(`|${line.join("").trimEnd()}`);
  }
  const [all, half] = [means(tests), means(part(1 / 2, 1))];
  for (const [r, ranker] of RANKERS.entries()) {
    console.log(`${ranker.padEnd(10)} ${all[r].toFixed(4)} of all, ${half[r].toFixed(4)} in the second half`);
  }
}

function readLikes(given: string | undefined): { name: string; likes: Like[] } {
  const root = process.env.HEBB_DATA ?? fileURLToPath(new URL("../../shared/data", import.meta.url));
  const real = ["rec-amazon-hin/user_item.dat", "rec-ml100k/ml-100k.inter"].map((path) => join(root, path));
  const path = given ?? real.find(existsSync);
  if (path === undefined) return { name: "Generated likes", likes: Array.from({ length: 6000 }, generated) };
  const rows = readFileSync(path, "utf8").split("\n");
  const liked = rows.map((row) => row.split("\t").map(Number)).filter(([, , rating]) => rating >= 4);
  const likes = liked.map(([user, item, , seconds]) => ({ user, item, time: 1000 * seconds }));
  return { name: relative(".", path), likes: likes.sort((a, b) => a.time - b.time) };
}

/** 600 users in 15 circles, each of which mostly likes what is new in a genre of its own. */
function generated(_: unknown, time: number): Like {
  const user = time % 600;
  const genre = time % 7 === 0 ? time % 15 : user % 15;
  return { user, item: 40 * genre + 4 * Math.floor(time / 600) + (((time * time) % 11) % 4), time };
}
