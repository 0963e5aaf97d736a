/** The table of routes as the README shows it. */
import { ROUTES, type Route } from './routes';

function pathsOf({ paths, action }: Route): string {
  const query = action === undefined ? '' : `?action=${action[0] ?? ''}`;
  const code = paths.map((path) => `\`${path}${query}\``).join(', ');
  const others = action?.slice(1) ?? [];
  return others.length === 0 ? code : `${code} (also \`${others.join('`, `')}\`)`;
}

/** Markdown, one row a function, without a line end after the last row; laid out as Prettier does. */
export function routesTable(): string {
  const rows = [
    ['Function', 'Paths', 'What it does'],
    ...ROUTES.map((route) => [`\`${route.name}\``, pathsOf(route), route.summary]),
  ];
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const rule = line(widths.map((width) => '-'.repeat(width)));
  return [line(rows[0] ?? []), rule, ...rows.slice(1).map(line)].join('\n');
}
