/**
 * `npm run bench`: the speed of CMBS compared with the smallest program that does the same, as ratios
 * (`report.ts`). `npm run bench -- http l1` runs only these cases; `million` runs only when it is named. The report goes to the terminal and to
 * `dist/bench/report.md`. A case that fails is marked in the report, and the exit code is 1.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { accessCase } from './access-case';
import { bundleCase } from './bundle-case';
import { callCase } from './call-case';
import { httpCase } from './http-case';
import { inboxCase } from './inbox-case';
import { l1Case } from './l1-case';
import { l2Case } from './l2-case';
import { pageCase } from './page-case';
import { profiles } from './profile-case';
import { report } from './report';
import { playRole } from './roles';
import { runCases, type Cases } from './run-cases';
import { sendCase } from './send-case';
import { startCase } from './start-case';
import { topicCase } from './topic-case';

const CASES: Cases = {
  http: () => httpCase(__dirname),
  access: accessCase,
  l1: l1Case,
  l2: l2Case,
  call: callCase,
  send: sendCase,
  topic: topicCase,
  // The clients of other brokers are loaded where they are used: the counterparts start from this file.
  brokers: async () => (await import('./brokers-case.ts')).brokersCase(),
  inbox: inboxCase,
  page: pageCase,
  start: startCase,
  bundle: () => bundleCase(__dirname),
};

/** Cases that take so long that they run only when they are named. */
const NAMED_ONLY = (size: number | undefined): Cases => ({
  million: async () => (await import('./million-case.ts')).millionCase(size),
});

/** Profiles have no ratios; they are tables at the end of the report. */
const PROFILE = 'profile';

/** @throws Error for text that is not a whole number of at least 1 */
function sizeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9]\d*$/.test(text)) throw new Error(`--size=${text} is not a whole number; write --size=100000`);
  return Number(text);
}

async function main(args: readonly string[]): Promise<void> {
  if (args[0] === '--role') return playRole(args[1] ?? '', args[2] ?? '');
  const { values, positionals: asked } = parseArgs({
    args: [...args],
    options: { size: { type: 'string' } },
    allowPositionals: true,
  });
  const namedOnly = NAMED_ONLY(sizeOf(values.size));
  const names = [...Object.keys(CASES), ...Object.keys(namedOnly), PROFILE];
  const unknown = asked.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`no case ${unknown}; there are: ${names.join(', ')}`);
  const started = performance.now();
  const tell = (text: string): void => void process.stderr.write(`${text}\n`);
  const { rows, failures } = await runCases(asked.length === 0 ? CASES : { ...CASES, ...namedOnly }, asked, tell);
  const isProfiled = asked.length === 0 || asked.includes(PROFILE);
  if (isProfiled) tell(`${PROFILE} …`);
  const profiled = isProfiled ? await profiles() : [];
  const text = report(rows, failures, (performance.now() - started) / 1000, profiled);
  await writeFile(join(__dirname, 'report.md'), text);
  process.stdout.write(text);
  if (failures.length > 0) process.exitCode = 1;
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${String(error instanceof Error ? error.stack : error)}\n`);
  process.exitCode = 1;
});
