/**
 * `npm run bench`: how fast CMBS is compared with the least program that does the same, as ratios (`report.ts`).
 * `npm run bench -- http l1` runs only these. The report goes to the terminal and to `dist/bench/report.md`.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundleCase } from './bundle-case';
import { httpCase } from './http-case';
import { l1Case } from './l1-case';
import { l2Case } from './l2-case';
import { pageCase } from './page-case';
import { report } from './report';
import { playRole } from './roles';
import type { Row } from './rounds';
import { sendCase } from './send-case';
import { startCase } from './start-case';

const CASES: Readonly<Record<string, () => Promise<readonly Row[]>>> = {
  http: () => httpCase(__dirname),
  l1: l1Case,
  l2: l2Case,
  send: sendCase,
  page: pageCase,
  start: startCase,
  bundle: () => bundleCase(__dirname),
};

async function main(args: readonly string[]): Promise<void> {
  if (args[0] === '--role') return playRole(args[1] ?? '', args[2] ?? '');
  const unknown = args.find((name) => !Object.hasOwn(CASES, name));
  if (unknown !== undefined) throw new Error(`no case ${unknown}; there are: ${Object.keys(CASES).join(', ')}`);
  const started = performance.now();
  const rows: Row[] = [];
  for (const [name, run] of Object.entries(CASES)) {
    if (args.length > 0 && !args.includes(name)) continue;
    process.stderr.write(`${name} …\n`);
    rows.push(...(await run()));
  }
  const text = report(rows, (performance.now() - started) / 1000);
  await writeFile(join(__dirname, 'report.md'), text);
  process.stdout.write(text);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${String(error instanceof Error ? error.stack : error)}\n`);
  process.exitCode = 1;
});
