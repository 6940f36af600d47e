/** Puts operation 6, checkpoints, and is killed. Arguments: the directory, rows, dimensions. */
import { open } from "../../dist/src/index.js";
import { vectorOf } from "./reading.mjs";

const [directory, rows, dimensions] = process.argv.slice(2);
const index = await open(directory);
const ids = Array.from({ length: Number(rows) }, (_, id) => id);
const vectors = Float32Array.from(ids.flatMap((id) => [...vectorOf(id, 6, Number(dimensions))]));
await index.putMany({ ids, vectors, payloads: ids.map(() => ({ op: 6 })) });
await index.checkpoint();
process.kill(process.pid, "SIGKILL");
