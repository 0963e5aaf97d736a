/** The documents name only things that exist, and describe the program as it is. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { ACCESS_CATEGORIES, type DefaultRight, DEFAULTS, parseOidcConfig } from '@cmbs/shared/access';
import { CMBS_EXTENSION, MEMBER_KIND, MESSAGE_KIND } from '@cmbs/shared/broker';
import { categoryId } from '@cmbs/shared/occi';
import { rightOf } from '../../shared/access/defaults';
import {
  KEEP_MS,
  MAX_GROUP_DEPTH,
  MAX_GROUPS_OF_CALLER,
  MAX_OWN_RULES_OF_SUBJECT,
  MAX_OWN_RULES_OF_TARGET,
  MAX_RULES_OF_OWNER,
  MAX_RULES_OF_TARGET,
} from '../../shared/access/directory';
import { MAX_LIST_CHARS, MAX_LISTED, MAX_MEMBERS_CHARS } from '../../shared/access/rule';
import { busMessageOf } from '../../shared/broker/publication';
import { PubsubNames } from '../../shared/bus/pubsub/names';
import { anchorsOf, commandsOf, readDocument, readDocuments, ROOT, section } from '../documents/markdown';
import { rowsOf } from '../documents/table';

const DOCUMENTS = readDocuments();
const SCRIPTS = (
  JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
).scripts;

/** Top-level names of the repository; a path in a document begins with one of these. */
const TOP = readdirSync(ROOT).filter(
  (name) => !['node_modules', 'dist', 'coverage', '.git', '.cmbs'].includes(name),
);

/** Paths that a document names in backticks, relative to the repository or to the document's own folder. */
function pathsIn(path: string, prose: string): readonly string[] {
  const spans = [...prose.matchAll(/`([^`\n]+)`/g)].map(([, span = '']) => span);
  return spans
    .flatMap((span) => span.split(/\s+/))
    .filter((word) => /^[\w.-]+(?:\/[\w.*{},-]+)*\/?$/.test(word))
    .filter((word) => TOP.includes(word.split('/')[0] ?? '') && (word.includes('/') || word.includes('.')))
    .flatMap((word) => {
      const [, before = '', list, after = ''] = /^(.*)\{([^}]+)\}(.*)$/.exec(word) ?? [];
      return list === undefined ? [word] : list.split(',').map((one) => before + one + after);
    })
    .filter((word) => !(dirname(path) !== '.' && existsSync(join(ROOT, dirname(path), word))));
}

function exists(path: string): boolean {
  if (!path.includes('*')) return existsSync(join(ROOT, path));
  const folder = dirname(path);
  const pattern = new RegExp(
    `^${path
      .slice(folder.length + 1)
      .replaceAll('.', '\\.')
      .replaceAll('*', '.*')}$`,
  );
  return existsSync(join(ROOT, folder)) && readdirSync(join(ROOT, folder)).some((name) => pattern.test(name));
}

describe('the documents', () => {
  it('are complete', () => {
    const names =
      'access design layers services devices wire occi guarantees costs operations extending testing glossary'.split(
        ' ',
      );
    expect(DOCUMENTS.map(({ path }) => path)).toEqual(
      expect.arrayContaining([
        'README.md',
        'CONTRIBUTING.md',
        'CHANGELOG.md',
        'examples/README.md',
        'terraform/README.md',
        ...names.map((name) => `docs/${name}.md`),
        ...['functions', 'settings', 'errors', 'metrics'].map((name) => `docs/reference/${name}.md`),
      ]),
    );
  });

  it('have a README of at most 120 lines', () => {
    expect(readDocument('README.md').text.split('\n').length - 1).toBeLessThanOrEqual(120);
  });

  it('name only paths that exist', () => {
    const named = DOCUMENTS.flatMap(({ path, prose }) => pathsIn(path, prose).map((word) => ({ path, word })));
    expect(named.length).toBeGreaterThan(100);
    expect(named.filter(({ word }) => !exists(word))).toEqual([]);
  });

  it('link only to documents and headings that exist', () => {
    const links = DOCUMENTS.flatMap(({ path, prose }) =>
      [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => ({ path, target })),
    ).filter(({ target }) => !/^https?:/.test(target));
    expect(links.length).toBeGreaterThan(40);
    const broken = links.filter(({ path, target }) => {
      const [file = '', anchor] = target.split('#');
      const linked = file === '' ? path : normalize(join(dirname(path), file));
      if (!existsSync(join(ROOT, linked))) return true;
      return anchor !== undefined && !anchorsOf(readDocument(linked)).has(anchor);
    });
    expect(broken).toEqual([]);
  });

  it('can each be reached from the README', () => {
    const reached = new Set(['README.md']);
    for (const path of reached) {
      for (const [, target = ''] of readDocument(path).prose.matchAll(/\]\(([^)#\s]+\.md)(?:#[^)]*)?\)/g)) {
        if (!/^https?:/.test(target)) reached.add(normalize(join(dirname(path), target)));
      }
    }
    const unreached = DOCUMENTS.map(({ path }) => path).filter(
      (path) => !reached.has(path) && !path.startsWith('test/fixtures/'),
    );
    expect(unreached).toEqual([]);
  });

  it('mark every shell block as run, or say why it is not run', () => {
    const notes = DOCUMENTS.flatMap(({ path, blocks }) =>
      blocks
        .filter(({ language }) => ['sh', 'bash', 'shell', 'console', 'zsh'].includes(language))
        .map(({ language, note, line }) => ({ where: `${path}:${line}`, kind: `${language} ${note}`.trim() })),
    );
    const known = ['sh', 'sh background', 'sh repository', 'sh cloud'];
    expect(notes.length).toBeGreaterThan(20);
    expect(notes.filter(({ kind }) => !known.includes(kind))).toEqual([]);
  });

  it('name only scripts that package.json has', () => {
    const texts = DOCUMENTS.map(({ path, text }) => ({ path, text }));
    const named = texts.flatMap(({ path, text }) =>
      [...text.matchAll(/npm (run ([\w:]+)|start|test)\b/g)].map(([, word = '', name = word]) => ({ path, name })),
    );
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter(({ name }) => SCRIPTS[name] === undefined)).toEqual([]);
  });
});

/** The test or CI step that runs each command that `test/e2e/documents.test.ts` does not run. */
const RUN_BY: readonly (readonly [command: RegExp, test: string, proof: string])[] = [
  [/^npm ci$/, '.ci/run', 'npm ci'],
  [/^npm run lint$/, '.ci/run', 'npm run lint'],
  [/^npm test$/, '.ci/run', 'npm test'],
  [/^npm start$/, 'test/e2e/scripts.test.ts', 'npm start'],
  [
    /^\(umask 077; openssl rand |^mkdir files$|^CMBS_(?:IDENTITIES|FILES_DIR)=\S+ .*npm start$/,
    'test/e2e/documents.test.ts',
    'startOwn(start)',
  ],
  [/^CMBS_TLS_CERT=\S+ CMBS_TLS_KEY=\S+ npm start$/, 'test/e2e/tls.test.ts', 'CMBS_TLS_CERT: cert'],
  [/^npm run demo$/, 'test/e2e/scripts.test.ts', "npm('run', 'demo')"],
  [/^npm run backup -- DEST$/, 'test/e2e/scripts.test.ts', "npm('run', 'backup', '--'"],
  [/^npm run docs$/, 'test/e2e/scripts.test.ts', "npm('run', 'docs')"],
  [/^npm run emulators/, 'test/cloud/emulators-program.test.ts', 'npm run emulators'],
  [/npm run start:cloud/, 'test/cloud/start-cloud.test.ts', 'start:cloud'],
  // The bench and the long runs are tools for developers; CI would take hours.
  [/^npm run (?:bench|test:nightly|test:coverage)$/, 'package.json', '"bench"'],
];

describe('the commands of a checkout', () => {
  const commands = DOCUMENTS.flatMap(({ path, blocks }) =>
    blocks
      .filter(({ language, note }) => language === 'sh' && note === 'repository')
      .flatMap(({ text }) => commandsOf(text).map((command) => ({ path, command }))),
  );

  it('are each run by a test or in CI', () => {
    expect(commands.length).toBeGreaterThan(10);
    expect(commands.filter(({ command }) => !RUN_BY.some(([pattern]) => pattern.test(command)))).toEqual([]);
  });

  it.each(RUN_BY)('%s are run by %s', (pattern, file, proof) => {
    expect(commands.some(({ command }) => pattern.test(command))).toBe(true);
    expect(readFileSync(join(ROOT, file), 'utf8')).toContain(proof);
  });
});

describe('the commands for Google Cloud', () => {
  const blocks = DOCUMENTS.flatMap(({ path, blocks: all }) =>
    all.filter(({ language, note }) => language === 'sh' && note === 'cloud').map(({ text }) => ({ path, text })),
  );
  const commands = blocks.flatMap(({ path, text }) => commandsOf(text).map((command) => ({ path, command })));

  it('call only programs that their document requires', () => {
    const programs = ['gcloud', 'terraform', 'docker', 'npm', 'curl', 'cd', 'cp'];
    expect(commands.length).toBeGreaterThan(15);
    const called = commands.flatMap(({ command }) => command.split(/ && /).map((one) => one.split(' ')[0] ?? ''));
    expect(called.filter((program) => !programs.includes(program))).toEqual([]);
  });

  it('name variables, outputs and files that terraform/ has', () => {
    const declared = (file: string, what: string): readonly string[] =>
      [...readFileSync(join(ROOT, 'terraform', file), 'utf8').matchAll(new RegExp(`^${what} "(\\w+)"`, 'gm'))].map(
        ([, name = '']) => name,
      );
    const all = commands.map(({ command }) => command).join('\n');
    const used = (pattern: RegExp): readonly string[] => [...all.matchAll(pattern)].map(([, name = '']) => name);
    expect(declared('variables.tf', 'variable')).toEqual(expect.arrayContaining([...used(/-var '?(\w+)=/g)]));
    expect(declared('outputs.tf', 'output')).toEqual(expect.arrayContaining([...used(/terraform output (\w+)/g)]));
    expect(declared('main.tf', 'module')).toEqual(expect.arrayContaining([...used(/-target=module\.(\w+)/g)]));
    for (const file of used(/ (environments\/[\w.]+)/g))
      expect(existsSync(join(ROOT, 'terraform', file))).toBe(true);
    for (const file of used(/-f \.\.\/(\S+)/g)) expect(existsSync(join(ROOT, file))).toBe(true);
  });
});

describe('the glossary', () => {
  const glossary = readDocument('docs/glossary.md');
  const attributesOf = (kind: string): readonly (readonly [string, string, string])[] =>
    CMBS_EXTENSION.categories
      .filter(
        (category) =>
          category.class !== 'action' &&
          (categoryId(category) === kind ||
            (category.class === 'mixin' && category.applies.includes(kind as never))),
      )
      .flatMap(({ attributes }) => Object.entries(attributes))
      .map(([name, { type, default: fallback }]) => [
        name,
        type,
        fallback === undefined ? '' : typeof fallback === 'string' ? fallback : JSON.stringify(fallback),
      ]);

  it.each([
    ['member', MEMBER_KIND],
    ['message', MESSAGE_KIND],
  ])('explains every attribute of a %s, with its type and default', (name, kind) => {
    const declared = new Map(attributesOf(kind).map((attribute) => [attribute[0], attribute]));
    const explained = rowsOf(section(glossary, name));
    expect(explained.map((cells) => cells.slice(0, 3).map((cell) => cell.replaceAll('`', '')))).toEqual([
      ...declared.values(),
    ]);
    expect(explained.every((cells) => (cells[3] ?? '') !== '')).toBe(true);
  });
});

describe('the page on access', () => {
  const page = readDocument('docs/access.md');
  const cellsOf = (name: string): readonly (readonly string[])[] =>
    rowsOf(section(page, name)).map((cells) => cells.map((cell) => cell.replaceAll('`', '')));
  const kinds = ACCESS_CATEGORIES.categories.filter((category) => category.class === 'kind');

  it('has every operation with its default', () => {
    const shown = cellsOf('defaults');
    expect(shown.map(([operation, right]) => [operation, right])).toEqual(Object.entries(DEFAULTS));
    expect(shown.every(([, , meaning = '']) => meaning !== '')).toBe(true);
  });

  it('has every kind whose entities have stricter defaults', () => {
    const stricter = kinds.flatMap((kind) => {
      const rights = (Object.entries(DEFAULTS) as [keyof typeof DEFAULTS, DefaultRight][]).map(
        ([operation, usual]) => ({
          operation,
          usual,
          own: rightOf(operation, { path: '/x', kind: categoryId(kind) }),
        }),
      );
      const others = rights.filter(({ usual, own }) => own !== usual && own !== 'administrators');
      expect(others).toEqual([]);
      const own = rights.filter((right) => right.own !== right.usual).map(({ operation }) => operation);
      return own.length === 0 ? [] : [[kind.term, own.join(', ')]];
    });
    expect(cellsOf('stricter')).toEqual(stricter);
  });

  it.each(kinds.map((kind) => [kind.term, kind] as const))('explains every attribute of a %s', (term, kind) => {
    const shown = cellsOf(term);
    expect(shown.map(([name, type]) => [name, type])).toEqual(
      Object.entries(kind.attributes).map(([name, { type }]) => [name, type]),
    );
    expect(shown.every(([, , meaning = '']) => meaning !== '')).toBe(true);
    expect(page.text).toContain(`At \`${kind.location}\``);
  });

  it('has the limits of the program', () => {
    expect(cellsOf('limits').map(([, most = '']) => Number(most.replaceAll(',', '')))).toEqual([
      MAX_RULES_OF_TARGET,
      MAX_OWN_RULES_OF_TARGET,
      MAX_RULES_OF_OWNER,
      MAX_OWN_RULES_OF_SUBJECT,
      MAX_LISTED,
      MAX_GROUP_DEPTH,
      MAX_GROUPS_OF_CALLER,
      MAX_LIST_CHARS,
      MAX_MEMBERS_CHARS,
    ]);
    expect(page.prose).toContain('everywhere within 2 seconds');
    expect(KEEP_MS).toBeLessThan(2000);
  });

  it('shows a file of issuers that the program accepts', () => {
    const files = page.blocks.filter(({ text }) => text.includes('"issuers"'));
    expect(files.map(({ text }) => parseOidcConfig(text)[0]?.prefix)).toEqual(['accounts.google.com/']);
  });
});

describe('the wire format', () => {
  const wire = readDocument('docs/wire.md');

  it('names every attribute of a publication', () => {
    const { attributes } = busMessageOf({
      layer: 'l32',
      topic: 'weather.tokyo',
      message: '/cmbs/message/one',
      sendId: 'send',
      sender: 'http://broker.example/cmbs/member/alice',
      at: 0,
      frame: '{}',
      orderingKey: undefined,
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    });
    const named = rowsOf(section(wire, 'attributes'))
      .flatMap((cells) => cells.slice(0, 2))
      .flatMap((cell) => [...cell.matchAll(/`([a-z][a-z_-]*)`/g)].map(([, name]) => name));
    expect(named.sort()).toEqual(Object.keys(attributes).sort());
  });

  it('names a topic in Pub/Sub as the bus does', () => {
    const names = new PubsubNames('cmbs');
    for (const topic of ['weather.tokyo', 'wétter.東京']) {
      expect(wire.text).toContain(`\`${names.topic('l32', topic)}\``);
    }
    const { text } = readDocument('docs/guarantees.md');
    expect(text).toContain(`\`${names.deadLetters}\``);
    expect(text).toContain(`\`${names.keptDeadLetters}\``);
  });

  it('shows a peer of 18 lines as it is in examples/', () => {
    const program = readFileSync(join(ROOT, 'examples/python/peer.py'), 'utf8').trimEnd();
    expect(program.split('\n')).toHaveLength(18);
    expect(wire.blocks.filter(({ language }) => language === 'python').map(({ text }) => text)).toEqual([program]);
  });
});

describe('the OCCI checklist', () => {
  const rows = rowsOf(readDocument('docs/occi.md').text.split('## Checklist')[1] ?? '');

  it('has all 78 items', () => {
    expect(rows.map(([number]) => number)).toEqual(Array.from({ length: 78 }, (_, at) => String(at + 1)));
  });

  it('names a test for each item, or says that there is none', () => {
    const untested = rows.filter(([number = '', , , , test = '']) => {
      if (test === '–') return !['12', '15'].includes(number);
      return !new RegExp(`#${number}\\b`).test(readFileSync(join(ROOT, test.replaceAll('`', '')), 'utf8'));
    });
    expect(untested).toEqual([]);
  });
});
