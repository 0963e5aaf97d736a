/**
 * `npm test`: first most suites, several at a time, then the suites that need the machine for themselves; at the
 * end, the skipped tests with their reasons. With `--nightly`, all suites, with larger numbers (`test/extent.ts`).
 * Further arguments go to Jest.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { linesOf } from './reporter.cjs';
import { leftOut, openOnly } from './selection.cjs';

const jest = createRequire(import.meta.url).resolve('jest/bin/jest');
const args = process.argv.slice(2);
const isNightly = args.includes('--nightly');
const forJest = args.filter((arg) => arg !== '--nightly');

/** Suites spend more time waiting than working, so there are more workers than the two expected processors. */
const GROUPS = { together: 5, alone: 1 };

const reports = mkdtempSync(join(tmpdir(), 'cmbs-test-report-'));
const started = performance.now();
const environment = {
  ...process.env,
  CMBS_TEST_SEED: process.env.CMBS_TEST_SEED ?? String(Math.floor(Math.random() * 2 ** 31)),
  ...(isNightly ? { CMBS_TEST_NIGHTLY: 'true' } : {}),
};

/** The current run of Jest, which ends with this process; no other run starts after that. */
let current;
let isOver = false;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    isOver = true;
    current?.kill(signal);
  });
}

function run(group, workers) {
  const child = spawn(process.execPath, [jest, '--passWithNoTests', `--maxWorkers=${workers}`, ...forJest], {
    stdio: 'inherit',
    env: { ...environment, CMBS_TEST_GROUP: group, CMBS_TEST_REPORT: join(reports, group) },
  });
  current = child;
  return new Promise((resolve) => child.once('close', (code, signal) => resolve(code ?? signal)));
}

/** The text that the reporter of a group wrote; undefined if Jest ended before that. */
function reportOf(group) {
  try {
    return JSON.parse(readFileSync(join(reports, group), 'utf8'));
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    return undefined;
  }
}

function merged(all) {
  const skipped = {};
  for (const [reason, { tests, files }] of all.flatMap((one) => Object.entries(one.skipped))) {
    const known = (skipped[reason] ??= { tests: 0, files: [] });
    known.tests += tests;
    known.files.push(...files);
  }
  return skipped;
}

const sum = (numbers) => numbers.reduce((total, one) => total + one, 0);
const lines = [];
const ended = [];
for (const [group, workers] of Object.entries(GROUPS)) {
  if (isOver) break;
  const from = performance.now();
  ended.push(await run(group, workers));
  lines.push(`  ${group}: ${Math.round((performance.now() - from) / 1000)} s`);
}
const all = Object.keys(GROUPS).flatMap((group) => reportOf(group) ?? []);
rmSync(reports, { recursive: true });

const count = (name) => sum(all.map((one) => one[name]));
process.stderr.write(`
Suites: ${count('suites')}, failed: ${count('failedSuites')}. Tests: passed ${count('passed')}, failed ${count('failed')}.
${Math.round((performance.now() - started) / 1000)} s:
${lines.join('\n')}
`);
for (const file of all.flatMap((one) => one.failedFiles)) process.stderr.write(`FAILED ${relative('.', file)}\n`);
const skipped = linesOf(merged(all));
if (skipped.length > 0) process.stderr.write(`Skipped:\n${skipped.join('\n')}\n`);
process.stderr.write(
  isNightly ? 'Not run on closed deployments:\n' : 'Left to npm run test:nightly, besides larger numbers:\n',
);
for (const [reason, files] of Object.entries(isNightly ? openOnly() : leftOut())) {
  process.stderr.write(`  ${files.length} suites: ${reason}\n`);
}
process.stderr.write(`Seed ${environment.CMBS_TEST_SEED}\n`);
process.exitCode = !isOver && ended.every((code) => code === 0) ? 0 : 1;
