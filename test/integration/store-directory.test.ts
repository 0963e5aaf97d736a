import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from '@photostructure/sqlite';
import { systemClock } from '@cmbs/shared';
import { MIGRATIONS } from '../../shared/store/sqlite/schema';
import type { SqliteStoreOptions } from '../../shared/store/sqlite/sqlite-store';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import type { Store } from '@cmbs/shared/store';
import { runBackup } from '@cmbs/emulator/backup';
import { type BundledProgram, bundleProgram } from './bundled-program';

/** The directory for all files of a test, which is or contains its data directory. */
let root: string;
let directory: string;
let file: string;
let program: BundledProgram;
const stores = new Set<Store>();
const children = new Set<ChildProcess>();

beforeAll(() => {
  program = bundleProgram('test/integration/store-child.ts');
});
afterAll(() => program.remove());
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cmbs-test-'));
  directory = root;
  file = join(directory, 'cmbs.db');
});
afterEach(async () => {
  for (const store of stores) await store.close();
  stores.clear();
  for (const child of children) {
    const exited = once(child, 'exit');
    if (child.kill('SIGKILL')) await exited;
  }
  children.clear();
  rmSync(root, { recursive: true, force: true });
});

async function open(options: Partial<SqliteStoreOptions> = {}): Promise<Store> {
  const store = await openSqliteStore({ directory, clock: systemClock, ...options });
  stores.add(store);
  return store;
}

/** The file of a descriptor; empty for a descriptor that was closed meanwhile. */
function targetOf(descriptor: string): readonly string[] {
  try {
    return [readlinkSync(descriptor)];
  } catch {
    return [];
  }
}

async function close(store: Store): Promise<void> {
  stores.delete(store);
  await store.close();
}

/** Starts the program that writes endlessly; resolves after its first acknowledged write. */
async function startWriter(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [program.path, directory, '1'], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) if (line.startsWith('created')) break;
  child.stdout.resume();
  return child;
}

const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

function makeDatabase(path: string, sql: string): void {
  const db = new DatabaseSync(path);
  db.exec(sql);
  db.close();
}

describe('a data directory', () => {
  it('is created when it is missing', async () => {
    directory = join(directory, 'deep', 'er');
    const store = await open();
    expect(await store.create('a', 'b', {})).toBe(true);
  });

  it('belongs to one process; a second process is refused with the id of the first, and changes nothing', async () => {
    const writer = await startWriter();
    await expect(open()).rejects.toMatchObject({
      code: 'conflict',
      message: `The data directory ${directory} is in use by another process (pid ${writer.pid}); stop it or set CMBS_DATA_DIR to another directory.`,
    });
    const exited = once(writer, 'exit');
    writer.kill('SIGKILL');
    await exited;
    children.delete(writer);
    const store = await open();
    expect(await store.count({ collection: 'created' }, 10)).toBeGreaterThan(0);
  });

  it('cannot be opened twice by one process, and can be opened again after a close', async () => {
    const first = await open();
    await expect(open()).rejects.toMatchObject({ code: 'conflict' });
    expect(await first.create('a', 'b', {})).toBe(true);
    await close(first);
    const second = await open();
    expect(await second.create('a', 'b', {})).toBe(false);
  });

  it('is refused with the reason when it cannot be created', async () => {
    writeFileSync(join(directory, 'plain-file'), '');
    directory = join(directory, 'plain-file', 'data');
    await expect(open()).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining(directory) as string,
    });
  });
});

describe('a database file', () => {
  it('is refused and stays unchanged with its log when a newer version wrote it', async () => {
    await close(await open());
    makeDatabase(file, `PRAGMA user_version=${MIGRATIONS.length + 1}`);
    // A crash of the newer version left frames in the log.
    const db = new DatabaseSync(file);
    db.exec('PRAGMA wal_autocheckpoint=0; CREATE TABLE newer (a); INSERT INTO newer VALUES (1)');
    const copies = ['cmbs.db', 'cmbs.db-wal'].map((name) => [name, readFileSync(join(directory, name))] as const);
    db.close();
    for (const [name, content] of copies) writeFileSync(join(directory, name), content);
    const before = copies.map(([name]) => digest(join(directory, name)));

    await expect(open()).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('newer version') as string,
    });
    expect(copies.map(([name]) => digest(join(directory, name)))).toEqual(before);
  });

  it('is refused, closed at once and unchanged when it belongs to another program', async () => {
    makeDatabase(file, 'CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)');
    const before = digest(file);
    await expect(open()).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('another program') as string,
    });
    expect(digest(file)).toBe(before);
    const opened = readdirSync('/proc/self/fd').flatMap((descriptor) => targetOf(`/proc/self/fd/${descriptor}`));
    expect(opened.filter((path) => path.startsWith(file))).toEqual([]);
  });

  it('is refused and stays unchanged when it is not a database', async () => {
    writeFileSync(file, 'This is not a database, whatever its name says. '.repeat(100));
    const before = digest(file);
    await expect(open()).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('not a readable database') as string,
    });
    expect(digest(file)).toBe(before);
  });

  it('is refused when it was truncated', async () => {
    const store = await open();
    await Promise.all(Array.from({ length: 200 }, (_, i) => store.create('a', String(i), { p: 'x'.repeat(500) })));
    await close(store);
    truncateSync(file, 8192);
    await expect(open()).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('not a readable database') as string,
    });
  });

  it('becomes a database when it is empty after a crash during its creation', async () => {
    writeFileSync(file, '');
    const store = await open();
    expect(await store.create('a', 'b', {})).toBe(true);
  });

  it('is copied and then migrated when it is of an older version', async () => {
    const old = await open();
    await old.create('a', 'b', { kept: true });
    await close(old);

    const log: string[] = [];
    const nothing = (): void => undefined;
    const migrations = [
      ...MIGRATIONS,
      'CREATE TABLE two (a); INSERT INTO two VALUES (2)',
      'ALTER TABLE two ADD b',
    ];
    const migrated = await open({
      migrations,
      log: { debug: nothing, info: (message) => log.push(message), warn: nothing, error: nothing },
    });
    expect((await migrated.get('a', 'b'))?.value).toEqual({ kept: true });
    await close(migrated);
    expect(log).toEqual(['migrating the database']);

    const db = new DatabaseSync(file, { readOnly: true });
    expect(db.prepare('PRAGMA user_version').get()).toEqual({ user_version: MIGRATIONS.length + 2 });
    expect(db.prepare('SELECT a, b FROM two').get()).toEqual({ a: 2, b: null });
    db.close();
    const copy = new DatabaseSync(`${file}.v${MIGRATIONS.length}.bak`, { readOnly: true });
    expect(copy.prepare('PRAGMA user_version').get()).toEqual({ user_version: MIGRATIONS.length });
    expect(copy.prepare('SELECT count(*) AS n FROM document').get()).toEqual({ n: 1 });
    copy.close();

    await close(await open({ migrations }));
    await expect(open()).rejects.toMatchObject({ code: 'conflict' });
  });

  it('keeps its version and content when a migration fails', async () => {
    const old = await open();
    await old.create('a', 'b', {});
    await close(old);
    const broken = [...MIGRATIONS, 'CREATE TABLE half (a); INSERT INTO nowhere VALUES (1)'];
    await expect(open({ migrations: broken })).rejects.toMatchObject({ code: 'unavailable' });
    const store = await open();
    expect(await store.get('a', 'b')).toBeDefined();
    await close(store);
    const db = new DatabaseSync(file, { readOnly: true });
    expect(db.prepare("SELECT count(*) AS n FROM sqlite_schema WHERE name = 'half'").get()).toEqual({ n: 0 });
    db.close();
  });
});

describe('a backup', () => {
  const backup = (...args: string[]): { code: number; out: string[]; err: string[] } => {
    const out: string[] = [];
    const err: string[] = [];
    const print = { out: (line: string) => out.push(line), err: (line: string) => err.push(line) };
    const env = { CMBS_DATA_DIR: directory };
    return { code: runBackup(args, env, new Date('2024-05-06T07:08:09.123Z'), print), out, err };
  };

  it('contains only whole transactions of a running stack, and is a valid data directory', async () => {
    await startWriter();
    const target = join(directory, 'backup-20240506T070809Z');
    expect(backup()).toEqual({ code: 0, out: [`Backed up ${directory} to ${target}`], err: [] });

    directory = target;
    const store = await open();
    expect(await store.count({ collection: 'created' }, 10)).toBeGreaterThan(0);
    const counter = Number((await store.get('pairs', 'counter'))?.value.n ?? 0);
    expect(await store.count({ collection: 'pairs', prefix: 'left-' }, 1_000_000)).toBe(counter);
    expect(await store.count({ collection: 'pairs', prefix: 'right-' }, 1_000_000)).toBe(counter);
    await close(store);
  });

  it('is written to the given directory for a stopped stack', async () => {
    const store = await open();
    await store.create('a', 'b', { n: 1 });
    await close(store);
    const target = join(directory, 'kept', 'here');
    expect(backup(target).code).toBe(0);
    const restored = await openSqliteStore({ directory: target, clock: systemClock });
    stores.add(restored);
    expect((await restored.get('a', 'b'))?.value).toEqual({ n: 1 });
  });

  it('fails with a reason when the database is missing or damaged or the target exists', async () => {
    expect(backup()).toMatchObject({ code: 1, err: [expect.stringContaining('no database')] });
    await close(await open());
    const taken = join(directory, 'taken');
    mkdirSync(taken);
    expect(backup(taken)).toMatchObject({ code: 1, err: [expect.stringContaining('exists already')] });
    expect(backup('--help')).toMatchObject({ code: 2 });
    writeFileSync(file, 'damaged '.repeat(1000));
    const target = join(directory, 'fresh');
    expect(backup(target)).toMatchObject({ code: 1 });
    expect(existsSync(target)).toBe(false);
  });
});
