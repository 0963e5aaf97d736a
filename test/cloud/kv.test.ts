import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { newId, systemClock } from '@cmbs/shared';
import { KeyValues } from '@cmbs/shared/services';
import type { Database } from '../../shared/services/kv/database';
import { moduleScope, SLOTS } from '../../shared/services/kv/places';
import { keyValueContract } from '../contract/kv-contract';
import { readDocument, section } from '../documents/markdown';
import { rowsOf } from '../documents/table';
import { bundleProgram, type BundledProgram } from '../integration/bundled-program';
import { PATIENCE_MS } from '../patience';
import { decoded } from './firestore-messages';
import { GrpcProxy } from './grpc-proxy';
import { describeOnEmulators, uniqueProject } from './support';
import { openTemporaryFirestore, type TemporaryFirestore } from './temporary-firestore';

describeOnEmulators('Firestore', ({ firestore }) => {
  keyValueContract('Firestore', () => openTemporaryFirestore(firestore));
});

describeOnEmulators('two processes', ({ firestore }) => {
  let program: BundledProgram;

  beforeAll(() => {
    program = bundleProgram('test/integration/kv-child.ts');
  });
  afterAll(() => program.remove());

  it('lose no increment of one counter, and no transaction on it', async () => {
    const project = uniqueProject();
    const run = async (): Promise<readonly number[]> => {
      const { stdout } = await promisify(execFile)(
        process.execPath,
        [program.path, 'firestore', firestore, project, '50'],
        { timeout: PATIENCE_MS },
      );
      return stdout
        .trim()
        .split('\n')
        .map((line) => Number(line.split(' ')[1]));
    };
    const sums = (await Promise.all([run(), run()])).flat();
    expect([...sums].sort((one, other) => one - other)).toEqual(Array.from({ length: 100 }, (_, at) => at + 1));
  });
});

describeOnEmulators('an operation', ({ firestore }) => {
  const SCOPE = moduleScope('costs');
  const ENTRIES = 120;
  const stated = rowsOf(section(readDocument('docs/costs.md'), 'kv-costs')).map(
    ([name = '', ...counts]) => [name, counts.map(Number)] as const,
  );
  const counts = { read: 0, written: 0, deleted: 0 };
  /** Writes by document. */
  const writesOf = new Map<string, number>();
  let proxy: GrpcProxy;
  let opened: TemporaryFirestore;
  let kv: KeyValues;

  beforeAll(async () => {
    proxy = await GrpcProxy.listen(firestore);
    proxy.observe('Commit', (message) => {
      const { writes = [] } = decoded('CommitRequest', message) as {
        readonly writes?: readonly { readonly update?: { readonly name: string }; readonly delete?: string }[];
      };
      for (const { update } of writes) {
        if (update !== undefined) writesOf.set(update.name, (writesOf.get(update.name) ?? 0) + 1);
      }
      const deleted = writes.filter(({ update }) => update === undefined).length;
      counts.deleted += deleted;
      counts.written += writes.length - deleted;
    });
    proxy.observe('BatchGetDocuments', (message) => {
      const { documents = [] } = decoded('BatchGetDocumentsRequest', message) as {
        readonly documents?: readonly string[];
      };
      counts.read += documents.length;
    });
    proxy.observeAnswers('RunQuery', () => {
      counts.read += 1;
    });
    opened = await openTemporaryFirestore(proxy.host);
    kv = new KeyValues({ store: opened.store, newId, clock: systemClock });
  });
  afterAll(async () => {
    await opened.close();
    await proxy.close();
  });

  const on = <T>(name: string, work: (database: Database) => Promise<T>): Promise<T> => kv.use(SCOPE, name, work);
  /** A database with entries in every account. */
  const filled = async (name: string): Promise<void> => {
    const writes = Array.from({ length: 60 }, (_, at) => ({ key: `key ${at}`, value: at }));
    await on(name, (database) => database.commit({ reads: [], writes }));
  };
  const operations: Readonly<Record<string, (database: Database) => Promise<unknown>>> = {
    'get an entry': (database) => database.get('key 1'),
    'list 20 entries': (database) => database.list({ limit: 20 }),
    'increment an entry, or put a value of the same size': (database) => database.increment('key 1', 1n),
    'put a new entry': (database) => database.put('new', 1),
    'put the first entry of a database': () => on('empty', (database) => database.put('new', 1)),
    'delete an entry': (database) => database.delete('key 1'),
    'a transaction that changes two entries': async (database) => {
      const found = await Promise.all(['key 1', 'key 2'].map((key) => database.get(key)));
      const reads = found.map((entry) => ({ key: entry?.key ?? '', revision: entry?.revision ?? '' }));
      await database.commit({ reads, writes: reads.map(({ key }) => ({ key, value: 0 })) });
    },
    'the size of a database': (database) => database.size(),
  };

  it.each(stated)('reads and writes what docs/costs.md says: %s', async (name, expected) => {
    const database = `db${stated.findIndex(([other]) => other === name)}`;
    await filled(database);
    Object.assign(counts, { read: 0, written: 0, deleted: 0 });
    const operation = operations[name];
    expect(operation).toBeDefined();
    await on(database, async (handle) => operation?.(handle));
    expect(Object.values(counts)).toEqual(expected);
  });

  it('writes no document with every new entry', async () => {
    writesOf.clear();
    for (let at = 0; at < ENTRIES; at++) await on('hot', (database) => database.put(`key ${at}`, at));
    // The scope for the first entry of each account, and the accounts in turns.
    expect(Math.max(...writesOf.values())).toBeLessThanOrEqual(SLOTS + 1);
    expect(writesOf.size).toBe(ENTRIES + SLOTS + 1);
  });
});
