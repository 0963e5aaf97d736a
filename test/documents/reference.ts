/** The pages of docs/reference, made from the tables of the program. `npm run docs` writes them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CATALOGUE } from '@cmbs/shared';
import { CLOUD_SETTINGS, SETTINGS, type Setting } from '@cmbs/shared/config';
import { COUNTERS, GAUGES, HISTOGRAMS } from '@cmbs/shared/metrics';
import { ROUTES, type Access } from '@cmbs/functions/routes';
import { code, table } from './table';

const GENERATED = '<!-- Made by `npm run docs` from the source; do not edit. -->';

const REACHES: Readonly<Record<Access, string>> = {
  store: 'store',
  companion: 'store, companion',
  bus: 'store, companion, topic bus',
  pushed: 'store (called by Pub/Sub)',
};

function functions(): string {
  const rows = ROUTES.map(({ name, paths, action = [], flag, summary, access }) => [
    code(name),
    paths.map(code).join(', '),
    (flag === undefined ? action.map((term) => `?action=${term}`) : [`?${flag}`]).map(code).join(', '),
    summary,
    REACHES[access],
  ]);
  return `# Functions and routes

Each row is one Cloud Function. The table in \`functions/routes.ts\` decides: the local gateway dispatches by it, and the deployment's URL map is made from it. A path that ends with a slash is a collection. \`{id}\` stands for one segment.

${table([['function', 'paths', 'query', 'what it does', 'uses'], ...rows])}

The function of an action can be called at a URL of its own, without \`?action=\`. On a laptop that is \`/fn/<function>/<entity path>\`, for example \`POST /fn/member-start-l1/cmbs/member/ID\`.
`;
}

function settingsTable(settings: Readonly<Record<string, Setting>>): string {
  const rows = Object.entries(settings).map(([name, { fallback = '', help }]) => [
    code(name),
    code(fallback),
    help,
  ]);
  return table([['variable', 'default', 'meaning'], ...rows]);
}

function settings(): string {
  const own = Object.entries<Setting>(CLOUD_SETTINGS).filter(([name]) => !Object.hasOwn(SETTINGS, name));
  const localOnly = Object.keys(SETTINGS).filter((name) => !Object.hasOwn(CLOUD_SETTINGS, name));
  return `# Settings

All settings are environment variables. \`shared/config/\` reads and checks them at the start; a wrong value ends the start with one line that says what is wrong. \`npm start -- --help\` prints them too. [Operations](../operations.md) explains how to use them.

## Every deployment

${settingsTable(SETTINGS)}

## Functions and companion apart

On Google Cloud and on its emulators these are added. ${localOnly.slice(0, -1).map(code).join(', ')} and ${localOnly.slice(-1).map(code).join()} do not exist there, and \`CMBS_PUBLIC_URL\` is always needed (\`npm run start:cloud\` fills it in). On Google Cloud, \`CMBS_IDENTITIES\` or \`CMBS_OPEN_TO_EVERYONE\` is needed as well. All parts of a deployment need the same settings.

${settingsTable(Object.fromEntries(own))}
`;
}

/** The sentence in front of each code of the catalogue. */
function meanings(): ReadonlyMap<string, string> {
  const source = readFileSync(join(process.cwd(), 'shared/errors.ts'), 'utf8');
  return new Map(
    [...source.matchAll(/\/\*\* ([^*]+) \*\/\n +(\w+): \{ status: /g)].map(([, meaning = '', name = '']) => [
      name,
      meaning,
    ]),
  );
}

function errors(): string {
  const known = meanings();
  const rows = Object.entries(CATALOGUE).map(([name, { status, retryable }]) => {
    const meaning = known.get(name);
    if (meaning === undefined) throw new Error(`shared/errors.ts has no sentence for ${name}`);
    return [code(name), String(status), retryable ? 'yes' : 'no', meaning];
  });
  return `# Errors

Every refusal has a code from \`shared/errors.ts\`. Over HTTP the sentence is in the header \`X-OCCI-Error\`, and JSON has the code as well: \`{"error":{"code","message","details"}}\`; on a socket the reply is \`{"error":{"code","message"}}\`. The message is one sentence that says what to do. _Retry_ says whether the same request may succeed later without a change.

${table([['code', 'status', 'retry', 'meaning'], ...rows])}

A front end may answer first, with a page of its own: functions-framework answers 400 for a path with a malformed percent escape (set \`NODE_ENV=production\` so that the page shows no stack).
`;
}

function metrics(): string {
  const counters = Object.entries<{ readonly labels: readonly string[]; readonly help: string }>(COUNTERS);
  const histograms = Object.entries<{
    readonly labels: readonly string[];
    readonly help: string;
    readonly bounds: readonly number[];
  }>(HISTOGRAMS);
  const gauges = Object.entries<{ readonly label?: string; readonly help: string }>(GAUGES);
  return `# Metrics

\`GET /metrics\` answers in Prometheus' text format: on the OCCI endpoint of a local stack, and on the companion's control endpoint (port 8095) elsewhere. In the cloud, requests and publications are counted from the log lines of the functions. The tables are in \`shared/metrics.ts\`.

## Counters

A counter appears once it has counted something, and starts at 0 with each start of the process.

${table([['name', 'labels', 'what is counted'], ...counters.map(([name, { labels, help }]) => [code(name), labels.map(code).join(', '), help])])}

## Histograms

A histogram has a counter for each upper bound (\`_bucket\` with the label \`le\`), their sum (\`_sum\`) and their number (\`_count\`).

${table([['name', 'labels', 'what is measured', 'upper bounds'], ...histograms.map(([name, { labels, help, bounds }]) => [code(name), labels.map(code).join(', '), help, bounds.join(', ')])])}

## Gauges

${table([['name', 'label', 'value'], ...gauges.map(([name, { label = '', help }]) => [code(name), code(label), help])])}
`;
}

/** Text of each page by its file name in docs/reference. */
export function referencePages(): Readonly<Record<string, string>> {
  const pages = { functions: functions(), settings: settings(), errors: errors(), metrics: metrics() };
  return Object.fromEntries(
    Object.entries(pages).map(([name, text]) => {
      const [title = '', ...rest] = text.split('\n');
      return [`${name}.md`, [title, '', GENERATED, ...rest].join('\n')];
    }),
  );
}
