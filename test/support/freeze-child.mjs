/**
 * Another process that freezes an index into a directory again and again, each time in another way, until it is
 * killed. Arguments: the index, the directory, the first freeze's number, the ways' options as JSON. It says what it
 * is about to freeze before it does, and that it is done with the bundle's witness.
 */
import { open } from "../../dist/src/index.js";

const [source, directory, from, ways] = process.argv.slice(2);
const options = JSON.parse(ways);
const say = (message) => new Promise((resolve) => process.send(message, resolve));

const index = await open(source, { readOnly: true });
for (let number = Number(from); ; number++) {
  await say({ freezing: number });
  const frozen = await index.freeze(directory, { ...options[number % options.length], generation: number });
  await say({ done: number, witness: frozen.witness });
  await frozen.close();
}
