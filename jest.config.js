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
      displayName: 'cloud',
      testMatch: ['<rootDir>/test/cloud/**/*.test.ts'],
      // Runs only when a test of this project was chosen.
      globalSetup: '<rootDir>/test/cloud/start-emulators.ts',
      globalTeardown: '<rootDir>/test/cloud/stop-emulators.ts',
    },
  ],
  // Tests start deployments of several processes each; more at a time would measure the machine.
  maxWorkers: 2,
  coverageProvider: project.coverageProvider,
  collectCoverageFrom: ['{shared,functions,companion,emulator}/**/*.ts'],
  coverageDirectory: 'coverage',
  coverageReporters: ['text-summary'],
  testTimeout: 30_000,
};
