// Hostile bytes for the parts of the kernel that read files: `npm run test:fuzz -- [RUNS] [SEED] [TARGET...]`. Builds the
// targets under libFuzzer, ASan and UBSan, and gives each the inputs of corpus/ (seeds, and whatever once was a finding)
// and RUNS new ones. A finding is shown with how to replay it, and ends the process with 1. What reads files in
// TypeScript is in test/property/hostile-*.test.ts.
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { root } from "../kernel/build.mjs";
import { buildTargets, targets } from "./build.mjs";

const [runs = "2000", seed = "1", ...asked] = process.argv.slice(2);
const chosen = asked.length > 0 ? asked : targets;
for (const name of chosen) {
  if (!targets.includes(name)) {
    console.error(`there is no target ${name}: one of ${targets.join(", ")}`);
    process.exit(1);
  }
}
const build = `${root}test/fuzz/build`;
const corpus = `${root}test/fuzz/corpus`;
const programs = await buildTargets();

/** Seconds that one input may take, and MiB that one allocation may: no file of a target's size has use for more. */
const limits = ["-timeout=60", "-malloc_limit_mb=256", "-rss_limit_mb=2560"];
const sum = { executions: 0, findings: 0 };

/** All inputs of a folder once, or with `more` new ones from them; how many there were. */
function fuzz(name, folders, more) {
  const args = [...limits, `-artifact_prefix=${build}/finding-${name}-`, `-seed=${seed}`, "-print_final_stats=1"];
  if (more !== undefined) args.push(`-runs=${more}`, "-max_len=400", "-len_control=0", "-reload=0");
  return new Promise((resolve) => {
    const child = spawn(programs[name], [...args, ...folders], { cwd: build, stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.on("data", (text) => {
      said = (said + text).slice(-100_000);
    });
    child.on("close", (status, signal) => {
      const executions = Number(/stat::number_of_executed_units:\s*(\d+)/.exec(said)?.[1] ?? 0);
      const found = /Test unit written to (\S+)/.exec(said)?.[1];
      sum.executions += executions;
      const crashes = status === 0 ? 0 : 1;
      sum.findings += crashes;
      console.log(`${name}: ${executions} executions, ${crashes} crashes`);
      if (crashes > 0) {
        console.log(said.slice(-8000));
        console.log(`${name} ended with ${signal ?? `status ${status}`} (seed ${seed})`);
        if (found) console.log(`replay: ${programs[name]} ${found}`);
      }
      resolve();
    });
  });
}

const waiting = [...chosen];
async function work() {
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    const grown = `${build}/grown-${name}`; // new inputs go here, and seed the next run of the same folder
    rmSync(grown, { recursive: true, force: true });
    mkdirSync(grown, { recursive: true });
    mkdirSync(`${corpus}/${name}`, { recursive: true });
    const kept = readdirSync(`${corpus}/${name}`).length;
    await fuzz(name, [grown, `${corpus}/${name}`], Math.max(Number(runs), kept + 1));
  }
}
await Promise.all(Array.from({ length: availableParallelism() }, work));
console.log(`${sum.executions} executions, ${sum.findings} crashes`);
process.exit(sum.findings > 0 ? 1 : 0);
