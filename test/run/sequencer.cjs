/**
 * The order in which suites start: those that take longest first, so that no worker is left with one at the end; the
 * others by their size, as Jest has it where it knows no times.
 */
const { statSync } = require('node:fs');
const { relative } = require('node:path');
const { LONGEST_FIRST } = require('./selection.cjs');

class Sequencer {
  sort(tests) {
    const place = ({ path, context }) => {
      const { rootDir, displayName } = context.config;
      const at = LONGEST_FIRST.indexOf(`${displayName?.name}: ${relative(rootDir, path)}`);
      return at < 0 ? LONGEST_FIRST.length : at;
    };
    const keyed = tests.map((test) => ({ test, place: place(test), size: statSync(test.path).size }));
    keyed.sort((a, b) => a.place - b.place || b.size - a.size);
    return keyed.map(({ test }) => test);
  }

  /** For `--onlyFailures`, of which nothing is kept. */
  allFailedTests(tests) {
    return tests;
  }

  cacheResults() {
    // The list says how long suites take.
  }

  shard(tests, { shardIndex, shardCount }) {
    return tests.filter((_, at) => at % shardCount === shardIndex - 1);
  }
}

module.exports = Sequencer;
