/**
 * The order in which suites start: the longest first, so that no worker ends with a long suite alone; the others
 * by file size, like Jest's own order without recorded times.
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

  /** For `--onlyFailures`; nothing is recorded. */
  allFailedTests(tests) {
    return tests;
  }

  cacheResults() {
    // The list in `selection.cjs` replaces recorded times.
  }

  shard(tests, { shardIndex, shardCount }) {
    return tests.filter((_, at) => at % shardCount === shardIndex - 1);
  }
}

module.exports = Sequencer;
