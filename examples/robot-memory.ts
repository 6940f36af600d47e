/**
 * A robot's memory: every state is on disk before the robot goes on, it may be killed at any moment, where it was in such a
 * state before is recalled, and all of it fits a quarter of the memory, since states cool that nobody asks for.
 *
 *   npx tsx examples/robot-memory.ts [most states]
 *
 * A state, one every 2 m, is the way that led here: the last 64 m as 32 places around the robot, north up. With the KITTI
 * poses in ../shared/data or $HEBB_DATA that is a drive of 3.7 km, on streets some of which come again; else a generated
 * patrol. The process that drives is really killed (SIGKILL) half-way. Expect no acknowledged state to be lost, a quarter
 * of the bytes, and about as many places recalled by codes as by whole vectors. Some five seconds.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Index, open, type SearchOptions } from "hebb";

type Place = [east: number, north: number]; // metres
const SPACING = 2; // metres
const PLACES = 32;
const SETTINGS = {
  dimensions: 2 * PLACES,
  metric: "l2",
  config: { tensor_compress: { memory_budget: 0.25 } }, // of what all vectors take as f32
} as const;

const [most = "2000", storeOfChild] = process.argv.slice(2);
if (!(Number(most) >= 2)) throw new RangeError(`${most} states; expected at least 2`);
const { name, route } = readRoute();
const states = [...route.keys()].slice(PLACES, PLACES + Number(most)); // ids: places on the route
const vectorOf = (id: number) =>
  Float32Array.from(route.slice(id - PLACES, id).flatMap(([e, n]) => [e - route[id][0], n - route[id][1]]));
const metres = (a: number, b: number) => Math.hypot(route[a][0] - route[b][0], route[a][1] - route[b][1]);
const stretchOf = (id: number) => Math.floor((id * SPACING) / 100); // the way in stretches of 100 m
const remember = (index: Index, id: number) => index.put(id, vectorOf(id), { stretch: stretchOf(id) });
if (storeOfChild !== undefined) await driveOn(storeOfChild);

const home = mkdtempSync(join(tmpdir(), "hebb-robot-"));
const store = join(home, "memory.hebb");
try {
  console.log(`${name}: ${states.length} states of ${SETTINGS.dimensions} numbers, one every ${SPACING} m.`);
  const acknowledged = await driveUntilKilled(Math.floor(states.length / 2));
  const index = await open(store, SETTINGS);
  const kept = states.filter((id) => index.get(id)?.vector.join() === vectorOf(id).join());
  console.log(`Killed after ${acknowledged} acknowledged states: ${kept.length} are there, each bit of them.`);

  for (const id of states.slice(kept.length)) await remember(index, id);
  await index.settle();
  const { faults } = await index.check();
  console.log(`Went on behind them: ${index.size} states, ${faults.length} faults in a check of every byte.\n`);

  console.log(`Recalled by whole vectors: ${recall(index, { exact: true })}.`);
  await index.retier();
  const { tiers, vectors } = index.stats();
  const sizes = Object.entries(tiers).map(([tier, { count, bytesPerVector: b }]) => `${count} ${tier} of ${b}`);
  const asFloats = 4 * SETTINGS.dimensions * index.size;
  console.log(`Vectors take ${vectors.bytes} bytes, not ${asFloats}: ${sizes.join(", ")}.`);
  console.log(`Recalled by codes alone: ${recall(index, { rerank: false })}.`);
  console.log(`Recalled by codes, the best compared again on disk: ${recall(index, {})}.`);
  await index.close();
} finally {
  rmSync(home, { recursive: true });
}

/** Drives in a process of its own and kills it; how many states it had acknowledged. */
async function driveUntilKilled(states: number): Promise<number> {
  const child = fork(fileURLToPath(import.meta.url), [most, store]);
  let acknowledged = 0;
  child.on("message", () => {
    acknowledged++;
    if (acknowledged === states) child.kill("SIGKILL");
  });
  const [code, signal] = await once(child, "close");
  if (signal !== "SIGKILL") throw new Error(`the process that drives ended with ${code} before it was killed`);
  return acknowledged;
}

async function driveOn(store: string): Promise<never> {
  const index = await open(store, SETTINGS);
  for (const id of states) {
    await remember(index, id);
    process.send!(id);
  }
  process.exit();
}

/** Where the robot passes a place again, the same way: is one of the five states most alike within 10 m of here? */
function recall(index: Index, options: SearchOptions): string {
  const recalled: boolean[] = [];
  for (const id of states) {
    const $lt = stretchOf(id) - 1;
    const isPassedAt = (then: number) => stretchOf(then) < $lt && metres(then, id) < 5 && metres(then - 5, id - 5) < 5;
    if (!states.some(isPassedAt)) continue;
    const hits = index.search(vectorOf(id), { k: 5, filter: { stretch: { $lt } }, ...options });
    recalled.push(hits.some((hit) => metres(Number(hit.id), id) < 10));
  }
  return `${recalled.filter(Boolean).length} of ${recalled.length} places that were passed again`;
}

function readRoute(): { name: string; route: Place[] } {
  const root = process.env.HEBB_DATA ?? fileURLToPath(new URL("../../shared/data", import.meta.url));
  const file = join(root, "robot-kitti-poses", "00.txt");
  if (!existsSync(file)) {
    // Rounds on a closed curve, each a little beside the one before.
    const wave = (axis: number, t: number) =>
      [1, 2, 3].reduce((sum, k) => sum + (60 / k) * Math.sin(k * t + axis * k * k + t / 500), 0);
    const patrol = Array.from({ length: 2032 }, (_, i): Place => [wave(1, i / 45), wave(2, i / 45)]);
    return { name: "A generated patrol", route: patrol };
  }
  const route: Place[] = [[0, 0]]; // where the sequence begins; its frames are a metre apart
  for (const line of readFileSync(file, "utf8").trim().split("\n")) {
    const pose = line.split(" ").map(Number); // 3 x 4: the rotation, and in the last column the position
    const [e, n] = route[route.length - 1];
    const share = SPACING / Math.hypot(pose[3] - e, pose[11] - n);
    if (share <= 1) route.push([e + share * (pose[3] - e), n + share * (pose[11] - n)]);
  }
  return { name: "KITTI odometry, sequence 00", route };
}
