import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ADDRESS_FIELD, OUTBOUND_MESSAGES, PART_FIELD } from '@cmbs/shared/broker';
import { deployedLayout, isInLayout, layoutOf } from '../../shared/store/firestore/layout';
import { placeOf } from '../../shared/store/firestore/names';
import { notEmpty } from '../not-empty';

const ROOT = join(__dirname, '../..');
/** Collections of the embedded bus; the cloud has Pub/Sub instead. */
const EMBEDDED_ONLY = [
  'bus-delivery',
  'bus-message',
  'bus-removed-stream',
  'bus-state',
  'bus-subscription',
  'clocks',
];

test('The deployment makes exactly the indexes that the engine uses.', () => {
  const deployed: unknown = JSON.parse(readFileSync(join(ROOT, 'terraform/firestore.json'), 'utf8'));
  expect(deployed).toEqual(deployedLayout());
});

test('The layout has every collection that the sources name.', () => {
  const sources = ['shared', 'functions', 'companion'].flatMap(sourcesIn);
  const literals = new Map<string, Set<string>>();
  for (const text of sources) {
    for (const [, name = '', value = ''] of text.matchAll(/const ([A-Z_]+) = '([a-z-]+)';/g)) {
      literals.set(name, (literals.get(name) ?? new Set()).add(value));
    }
  }
  const named = new Set<string>();
  for (const text of sources) {
    const uses = text.matchAll(
      /(?:collection: |\b(?:tx|reader|store)\.(?:get|getAll|put|delete|create)\(\s*)(?:'([a-z-]+)'|([A-Z_]+)\b)/g,
    );
    for (const [, literal, constant = ''] of uses) {
      for (const value of literal === undefined ? (literals.get(constant) ?? []) : [literal]) named.add(value);
    }
  }
  expect([...named]).toEqual(expect.arrayContaining(['entities', 'sends', 'meta']));
  const missing = [...named].filter((name) => !EMBEDDED_ONLY.includes(name) && !isInLayout(placeOf(name).group));
  expect(missing).toEqual([]);
});

test('The inboxes of all members share one collection id.', () => {
  const { parent, group, path } = placeOf('inbox:016ad860');
  expect({ parent, group, path }).toEqual({
    parent: 'inbox/016ad860',
    group: 'entries',
    path: 'inbox/016ad860/entries',
  });
  expect(layoutOf(group)).toMatchObject({ order: 'both', expiresByOrder: true });
});

test('Indexes of their own order the outbound messages for one address, and those of one part of a shard.', () => {
  expect(layoutOf(OUTBOUND_MESSAGES).sortedFields).toEqual([ADDRESS_FIELD, PART_FIELD]);
  expect(deployedLayout()[OUTBOUND_MESSAGES]?.ascending).toContain('sorted');
});

test('No collection indexes values or commit ids, and every collection has the expiry policy.', () => {
  const groups = Object.values(deployedLayout());
  for (const { exempt, ttl } of notEmpty(groups)) {
    expect(exempt).toEqual(expect.arrayContaining(['value', 'revision', 'commit']));
    expect(ttl).toBe('expires');
  }
  // A database in Firestore has at most 200 configurations of single fields.
  const configured = groups.reduce((sum, { exempt, ascending }) => sum + exempt.length + ascending.length, 0);
  expect(configured).toBeLessThanOrEqual(200);
});

function sourcesIn(folder: string): readonly string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.includes('node_modules'))
    .map((name) => readFileSync(join(ROOT, folder, name), 'utf8'));
}
