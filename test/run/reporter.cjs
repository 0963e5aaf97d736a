/**
 * Prints the seed of a run at its start, and the skipped tests with their reasons at its end. The reason is part
 * of the name of a skipped test (`test/skipping.ts`); a run fails if a skipped test has none. With
 * `CMBS_TEST_REPORT`, the end goes to that file instead, and `run.mjs` prints it.
 */
const { writeFileSync } = require('node:fs');

const REASON = /\[skipped: ([^\]]+)\]/;

/** Without emulators, the set-up of a run says so, and whole suites of this project are skipped. */
const ON_EMULATORS = 'cloud e2e';

/** Skipped tests by reason, each reason with the files that have such tests. */
function skippedTests({ testResults }) {
  const found = {};
  for (const { testFilePath, displayName, testResults: tests } of testResults) {
    const whole = displayName?.name === ON_EMULATORS ? process.env.CMBS_TEST_EMULATORS_MISSING : undefined;
    for (const { status, fullName } of tests) {
      if (status !== 'pending' && status !== 'todo') continue;
      const reason = REASON.exec(fullName)?.[1] ?? whole ?? '';
      const known = (found[reason] ??= { tests: 0, files: [] });
      known.tests += 1;
      if (!known.files.includes(testFilePath)) known.files.push(testFilePath);
    }
  }
  return found;
}

function linesOf(skipped) {
  const reasons = Object.entries(skipped).sort(([a], [b]) => (a < b ? -1 : 1));
  return reasons.map(
    ([reason, { tests, files }]) => `  ${tests} tests in ${files.length} suites: ${reason || 'NO REASON GIVEN'}`,
  );
}

class Reporter {
  #isPartial;
  #hasUnexplained = false;

  constructor({ testNamePattern }) {
    // Tests whose names do not match count as skipped.
    this.#isPartial = testNamePattern !== undefined && testNamePattern !== '';
  }

  onRunStart() {
    process.stderr.write(`Seed ${process.env.CMBS_TEST_SEED}; CMBS_TEST_SEED=… repeats a run with its seed.\n`);
  }

  onRunComplete(_contexts, results) {
    const skipped = skippedTests(results);
    if (this.#isPartial) delete skipped[''];
    this.#hasUnexplained = skipped[''] !== undefined;
    const file = process.env.CMBS_TEST_REPORT;
    if (file === undefined) {
      const lines = linesOf(skipped);
      if (lines.length > 0) process.stderr.write(`Skipped:\n${lines.join('\n')}\n`);
      return;
    }
    const { numPassedTests, numFailedTests, numFailedTestSuites, numTotalTestSuites, testResults } = results;
    const failed = testResults.filter(
      ({ numFailingTests, testExecError }) => numFailingTests > 0 || testExecError !== undefined,
    );
    writeFileSync(
      file,
      JSON.stringify({
        suites: numTotalTestSuites,
        failedSuites: numFailedTestSuites,
        passed: numPassedTests,
        failed: numFailedTests,
        failedFiles: failed.map(({ testFilePath }) => testFilePath),
        skipped,
      }),
    );
  }

  getLastError() {
    return this.#hasUnexplained
      ? new Error('A test was skipped without a reason; see test/skipping.ts.')
      : undefined;
  }
}

module.exports = Reporter;
module.exports.linesOf = linesOf;
