/** The table of routes as the README shows it. */
import { ROUTES } from './routes';

const code = (words: readonly string[]): string => words.map((word) => `\`${word}\``).join(', ');

/** Markdown, one row a function, without a line end after the last row; laid out as Prettier does. */
export function routesTable(): string {
  const rows = [
    ['function', 'paths', 'query', 'what it does'],
    ...ROUTES.map(({ name, paths, action = [], flag, summary }) => [
      code([name]),
      code(paths),
      code(flag === undefined ? action.map((term) => `?action=${term}`) : [`?${flag}`]),
      summary,
    ]),
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const rule = line(widths.map((width) => '-'.repeat(width)));
  return [line(rows[0] ?? []), rule, ...rows.slice(1).map(line)].join('\n');
}
