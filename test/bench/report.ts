/** The table of a run. */
import { cpus } from 'node:os';
import type { Profiled } from './profile-case';
import { isMet, type Row, type Unmeasured } from './rounds';
import type { Failure } from './run-cases';

const figure = (value: number): string =>
  value >= 1000 ? Math.round(value).toLocaleString('en') : value.toFixed(value >= 10 ? 0 : 2);
const ratio = (value: number): string => value.toFixed(2);

function verdict(row: Row): string {
  if (row.aim === undefined) return '–';
  return `${row.aim.kind} ${ratio(row.aim.ratio)}: ${isMet(row) ? 'met' : 'missed'}`;
}

const isMeasured = (row: Row | Unmeasured): row is Row => !('why' in row);

function cells(row: Row | Unmeasured): readonly string[] {
  if (!isMeasured(row)) return [row.what, '–', row.against, '–', '–', '–', row.why];
  return [
    row.what,
    `${figure(row.ours)} ${row.unit}`,
    row.against,
    `${figure(row.other)} ${row.unit}`,
    ratio(row.ratio),
    `${ratio(row.low)}–${ratio(row.high)}`,
    verdict(row),
  ];
}

const COLUMNS = ['what', 'cmbs', 'against', '', 'ratio', 'min–max', 'aim'];

/**
 * Markdown with aligned columns, so that it is readable in a terminal too. A case that failed has a row without
 * figures.
 */
export function report(
  rows: readonly (Row | Unmeasured)[],
  failures: readonly Failure[],
  seconds: number,
  profiled: readonly Profiled[] = [],
): string {
  const lines = [
    COLUMNS,
    ...rows.map(cells),
    ...failures.map(({ name }) => [name, '–', '–', '–', '–', '–', 'FAILED']),
  ];
  const measured = rows.filter(isMeasured);
  const notes = measured.flatMap(({ what, against, note }) =>
    note === undefined ? [] : [`- ${what} (${against}): ${note}`],
  );
  const limits = measured
    .filter((row) => row.aim === undefined || !isMet(row))
    .flatMap(({ what, against, limit }) => (limit === undefined ? [] : [`- ${what} (${against}): ${limit}`]));
  return `# Bench

Each ratio is cmbs divided by its counterpart, measured in turn in one run: the median of all rounds, and the lowest
and the highest of a round, which show how noisy the machine was. Figures are medians; compare them within a run only.
Servers run in processes of their own, the client in a further one.
Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}, ${Math.round(seconds)} s.

${table(lines)}
${notes.length === 0 ? '' : `\nWhat differs beside the speed:\n\n${notes.join('\n')}\n`}
What limits the ratios without an aim, or those that missed it:

${limits.length === 0 ? '- nothing' : limits.join('\n')}
${failures.length === 0 ? '' : `\nCases that failed, and have no figures:\n\n${failures.map(({ name, why }) => `- ${name}: ${why}\n`).join('')}`}${profileTables(profiled)}`;
}

/** Parts with less of the time are not shown. */
const LEAST_SHARE = 0.02;

function profileTables(profiled: readonly Profiled[]): string {
  if (profiled.length === 0) return '';
  const percent = (share: number | undefined): string =>
    share === undefined ? '–' : `${Math.round(share * 100)} %`;
  const tables = profiled.map(({ what, parts, before }) => {
    const shown = parts.filter(({ part, share }) => Math.max(share, before?.shares[part] ?? 0) >= LEAST_SHARE);
    if (before === undefined) {
      return `${what}:\n\n${table([['part', 'share'], ...shown.map(({ part, share }) => [part, percent(share)])])}\n`;
    }
    const cells = shown.map(({ part, share }) => [part, percent(before.shares[part]), percent(share)]);
    const cpu = `processor time of an operation ${ratio(before.cpu)} of before, measured in one run`;
    return `${what} (${cpu}):\n\n${table([['part', 'before', 'now'], ...cells])}\n`;
  });
  return `\nSelf time of the main thread while it is busy, by part:\n\n${tables.join('\n')}`;
}

/** A Markdown table with aligned columns. */
function table(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, at) => Math.max(...lines.map((line) => (line[at] as string).length)));
  const [head, ...body] = lines.map(
    (line) => `| ${line.map((cell, at) => cell.padEnd(widths[at] as number)).join(' | ')} |`,
  );
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [head, rule, ...body].join('\n');
}
