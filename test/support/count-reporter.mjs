/** Ends a run with one line, "N passed, N failed", for whoever counts tests over several runners. */
export default class CountReporter {
  onTestRunEnd(modules, unhandled) {
    let passed = 0;
    let failed = unhandled.length;
    for (const module of modules) {
      if (module.errors().length > 0) failed++;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === "passed") passed++;
        else failed++;
      }
    }
    console.log(`${passed} passed, ${failed} failed`);
  }
}
