#!/usr/bin/env node
/** The program `hebb`: runs the command on this process's arguments. */
import { HebbError } from "../../base/errors.js";

// A reader that has seen enough, such as `head`, is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") {
    process.stderr.write(`hebb: IO_ERROR: the output cannot be written: ${error.message}\n`);
    process.exit(1);
  }
  process.exit();
});
// Where nobody hears a warning, what it is about goes on.
process.stderr.on("error", () => undefined);
try {
  await import("../../base/node-version.js"); // before what an old Node.js might trip over
  const { run } = await import("./program.js");
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof HebbError)) throw error;
  console.error(`hebb: ${error.message}`);
  process.exitCode = 1;
}
