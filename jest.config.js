/** Tests run the TypeScript sources; types are checked by `npm run lint`. */
const project = {
  testEnvironment: 'node',
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
  },
};

/** Set-up and tear-down run only when a test of their project was chosen. */
const emulators = {
  globalSetup: '<rootDir>/test/cloud/start-emulators.ts',
  globalTeardown: '<rootDir>/test/cloud/stop-emulators.ts',
};

module.exports = {
  projects: [
    {
      ...project,
      displayName: 'local',
      testMatch: ['<rootDir>/test/**/*.test.ts'],
      testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/cloud/'],
    },
    {
      ...project,
      ...emulators,
      displayName: 'cloud',
      testMatch: ['<rootDir>/test/cloud/**/*.test.ts'],
    },
    {
      // The suites of the local stack once more, on Firestore and Pub/Sub; those that look into its data directory or
      // replace its modules are its own.
      ...project,
      ...emulators,
      displayName: 'cloud e2e',
      testMatch: ['<rootDir>/test/e2e/{broker,occi,hostile,wire}*.test.ts'],
      testPathIgnorePatterns: ['/node_modules/', '(broker-release|hostile-readers)\\.test\\.ts$'],
      setupFilesAfterEnv: ['<rootDir>/test/cloud/run-e2e.ts'],
    },
  ],
  // Tests start deployments of several processes each; more at a time would measure the machine.
  maxWorkers: 2,
  // A worker keeps much of each file that it has run; beyond this a new one takes its place.
  workerIdleMemoryLimit: '1GB',
  coverageProvider: project.coverageProvider,
  collectCoverageFrom: ['{shared,functions,companion,emulator}/**/*.ts'],
  coverageDirectory: 'coverage',
  coverageReporters: ['text-summary'],
  // Longer than the few waits that a test may have (test/patience.ts), all of which are short on a machine that is free.
  testTimeout: 180_000,
};
