import { appendFileSync } from "node:fs";

/**
 * Ends a run with one line, "N passed, N failed", for whoever counts tests over several runners. What failed is
 * appended to the file that HEBB_FAILURES names, so that it can be said again at the end of a long log.
 */
export default class CountReporter {
  onTestRunEnd(modules, unhandled) {
    let passed = 0;
    const failed = unhandled.map((error) => `outside of tests: ${error.stack ?? error.message}`);
    for (const module of modules) {
      failed.push(...module.errors().map(({ message }) => `${module.relativeModuleId}: ${message}`));
      for (const test of module.children.allTests()) {
        const { state, errors = [] } = test.result();
        if (state === "passed") passed++;
        else
          failed.push(
            `${module.relativeModuleId} > ${test.fullName}: ${errors.map((error) => error.message).join("; ")}`,
          );
      }
    }
    if (process.env.HEBB_FAILURES) {
      for (const line of failed) appendFileSync(process.env.HEBB_FAILURES, `FAIL ${line}\n`);
    }
    console.log(`${passed} passed, ${failed.length} failed`);
  }
}
