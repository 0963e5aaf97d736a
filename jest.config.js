/** Tests run the TypeScript sources; types are checked by `npm run lint`. */
const { selected } = require('./test/run/selection.cjs');

const { CMBS_TEST_GROUP, CMBS_TEST_NIGHTLY } = process.env;

/** `npx jest FILE` runs any file; `npm test` says what it wants (`test/run/run.mjs`). */
const files = selected({
  which: CMBS_TEST_GROUP,
  isNightly: CMBS_TEST_GROUP === undefined || CMBS_TEST_NIGHTLY === 'true',
});

// Random choices of the tests and of fast-check follow from it; workers inherit it.
process.env.CMBS_TEST_SEED ??= String(Math.floor(Math.random() * 2 ** 31));

const project = {
  testEnvironment: '<rootDir>/test/run/environment.cjs',
  // V8 counts itself, where instrumented code would be slower and its timings others.
  coverageProvider: 'v8',
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
        module: { type: 'commonjs' },
        sourceMaps: 'inline',
      },
    ],
    // ESM alone, which Jest does not load on Node 20.
    '/node_modules/jose/.+\\.js$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'ecmascript' }, target: 'es2022' }, module: { type: 'commonjs' } },
    ],
  },
  transformIgnorePatterns: ['/node_modules/(?!jose/)'],
};

/** Set-up and tear-down run only when a test of their project was chosen. */
const emulators = {
  globalSetup: '<rootDir>/test/cloud/start-emulators.ts',
  globalTeardown: '<rootDir>/test/cloud/stop-emulators.ts',
};

/** A project with its files of this run; none when there are no such files, for Jest would take all then. */
const projectOf = (displayName, settings = {}) =>
  files[displayName].length === 0
    ? []
    : [
        {
          ...project,
          ...settings,
          displayName,
          testMatch: files[displayName].map((file) => `<rootDir>/${file}`),
        },
      ];

module.exports = {
  projects: [
    ...projectOf('local'),
    ...projectOf('cloud', emulators),
    // End-to-end suites of the local stack once more, on Firestore and Pub/Sub.
    ...projectOf('cloud e2e', { ...emulators, setupFilesAfterEnv: ['<rootDir>/test/cloud/run-e2e.ts'] }),
    // And on closed local stacks, whose requests carry credentials.
    ...projectOf('closed e2e', { setupFilesAfterEnv: ['<rootDir>/test/e2e/run-closed.ts'] }),
  ],
  maxWorkers: 2,
  testSequencer: '<rootDir>/test/run/sequencer.cjs',
  // Until then a worker that has ended its last suite may take on a busy machine; what is left open takes longer.
  workerGracefulExitTimeout: 20_000,
  reporters: ['default', '<rootDir>/test/run/reporter.cjs'],
  // A worker keeps much of each file that it has run; beyond this a new one takes its place.
  workerIdleMemoryLimit: '1GB',
  coverageProvider: project.coverageProvider,
  collectCoverageFrom: ['{shared,functions,companion,emulator}/**/*.ts'],
  coverageDirectory: 'coverage',
  coverageReporters: ['text-summary'],
  // Longer than the few waits that a test may have (test/patience.ts), all of which are short on a machine that is free.
  testTimeout: 180_000,
};
