/** Tests run the TypeScript sources; types are checked by `npm run lint`. */
module.exports = {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/**/*.test.ts'],
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
  // Tests start deployments of several processes each; more at a time would measure the machine.
  maxWorkers: 2,
  // V8 counts itself, where instrumented code would be slower and its timings others.
  coverageProvider: 'v8',
  collectCoverageFrom: ['{shared,functions,companion,emulator}/**/*.ts'],
  coverageDirectory: 'coverage',
  coverageReporters: ['text-summary'],
  testTimeout: 30_000,
};
