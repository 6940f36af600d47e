// Loaded before a program (node --import): the process dies in the Nth of SQLite's calls that change a file, after a part
// of it. HEBB_KILL is { directory, at, part }.
import Database from "better-sqlite3";
import { buildTraceVfs } from "./build.mjs";

const { directory, at, part } = JSON.parse(process.env.HEBB_KILL);
const db = new Database(":memory:");
db.loadExtension(buildTraceVfs());
db.prepare("SELECT trace_start(?)").get(directory);
db.prepare("SELECT trace_kill(?, ?)").get(at, part);
