/** The table of a run. */
import { cpus } from 'node:os';
import { isMet, type Row } from './rounds';
import type { Failure } from './run-cases';

const figure = (value: number): string =>
  value >= 1000 ? Math.round(value).toLocaleString('en') : value.toFixed(value >= 10 ? 0 : 2);
const ratio = (value: number): string => value.toFixed(2);

function verdict(row: Row): string {
  if (row.aim === undefined) return '–';
  return `${row.aim.kind} ${ratio(row.aim.ratio)}: ${isMet(row) ? 'met' : 'missed'}`;
}

const COLUMNS = ['what', 'cmbs', 'against', '', 'ratio', 'min–max', 'aim'];

/**
 * Markdown with aligned columns, so that it is readable in a terminal too. A case that failed has a row without
 * figures.
 */
export function report(rows: readonly Row[], failures: readonly Failure[], seconds: number): string {
  const lines = [
    COLUMNS,
    ...rows.map((row) => [
      row.what,
      `${figure(row.ours)} ${row.unit}`,
      row.against,
      `${figure(row.other)} ${row.unit}`,
      ratio(row.ratio),
      `${ratio(row.low)}–${ratio(row.high)}`,
      verdict(row),
    ]),
    ...failures.map(({ name }) => [name, '–', '–', '–', '–', '–', 'FAILED']),
  ];
  const widths = COLUMNS.map((_, at) => Math.max(...lines.map((line) => (line[at] as string).length)));
  const [head, ...body] = lines.map(
    (line) => `| ${line.map((cell, at) => cell.padEnd(widths[at] as number)).join(' | ')} |`,
  );
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  const limits = rows
    .filter((row) => row.aim === undefined || !isMet(row))
    .flatMap(({ what, against, limit }) => (limit === undefined ? [] : [`- ${what} (${against}): ${limit}`]));
  return `# Bench

Each ratio is cmbs divided by its counterpart, measured in turn in one run: the median of all rounds, and the lowest
and the highest of a round, which show how noisy the machine was. Figures are medians; compare them within a run only.
Servers run in processes of their own, the client in a further one.
Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}, ${Math.round(seconds)} s.

${[head, rule, ...body].join('\n')}

What limits the ratios without an aim, or those that missed it:

${limits.length === 0 ? '- nothing' : limits.join('\n')}
${failures.length === 0 ? '' : `\nCases that failed, and have no figures:\n\n${failures.map(({ name, why }) => `- ${name}: ${why}\n`).join('')}`}`;
}
