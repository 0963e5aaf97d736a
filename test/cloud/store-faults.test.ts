/** The Firestore engine during faults of Firestore and of the network. */
import type { ErrorCode, JsonObject } from '@cmbs/shared';
import { FIRESTORE_CALLS_PER_CHANNEL } from '../../shared/store/firestore/client';
import type { FirestoreStoreOptions } from '../../shared/store/firestore/firestore-store';
import { FIRESTORE_LIMITS } from '../../shared/store/firestore/limits';
import type { Change } from '../../shared/store/store';
import type { Store } from '@cmbs/shared/store';
import { restartableEmulator } from '@cmbs/emulator/emulators';
import { GrpcProxy } from './grpc-proxy';
import { describeOnEmulators, itRestartsEmulators } from './support';
import { keptLog, openTemporaryFirestore, type TemporaryFirestore } from './temporary-firestore';
import { PATIENCE_MS } from '../patience';

/** Deadline of operations in tests of deadlines, in milliseconds, and with a margin until they must have ended. */
const SHORT_MS = 2000;
const SHORT_AND_MARGIN_MS = 30_000;

describeOnEmulators('The Firestore engine', ({ firestore }) => {
  let proxy: GrpcProxy;
  const opened: TemporaryFirestore[] = [];

  beforeEach(async () => {
    proxy = await GrpcProxy.listen(firestore);
  });
  afterEach(async () => {
    proxy.heal();
    await Promise.all(opened.splice(0).map((one) => one.close()));
    await proxy.close();
  });

  const open = async (options: Partial<FirestoreStoreOptions> = {}): Promise<TemporaryFirestore> => {
    const one = await openTemporaryFirestore(proxy.host, {
      ...options,
      limits: { closeMs: 1000, ...options.limits },
    });
    opened.push(one);
    // Connects before the test measures calls or injects faults.
    await one.store.get('things', 'nothing');
    return one;
  };
  const openStore = async (options?: Partial<FirestoreStoreOptions>): Promise<Store> =>
    (await open(options)).store;
  /** Opens the same project without the proxy. */
  const openBeside = async ({ projectId }: TemporaryFirestore): Promise<Store> => {
    const one = await openTemporaryFirestore(firestore, { projectId });
    opened.push(one);
    return one.store;
  };
  const put = (store: Store, id: string, value: JsonObject = {}): Promise<void> =>
    store.transact(async (tx) => tx.put('things', id, value));
  const increment = (store: Store, id = 'n'): Promise<void> =>
    store.transact(async (tx) => {
      const n = Number((await tx.get('things', id))?.value.n ?? 0);
      tx.put('things', id, { n: n + 1 });
    });
  const timed = async (work: Promise<unknown>): Promise<{ readonly ms: number; readonly error: unknown }> => {
    const began = performance.now();
    const error: unknown = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    return { ms: performance.now() - began, error };
  };

  describe('after a transient fault', () => {
    it('repeats a transaction that Firestore aborted, and applies it once', async () => {
      const store = await openStore();
      proxy.inject('Commit', { kind: 'answer', status: 10, message: 'contention' }, 3);
      await increment(store);
      expect(proxy.callsOf('Commit')).toBe(4);
      expect(await store.get('things', 'n')).toMatchObject({ revision: 1, value: { n: 1 } });
    });

    it.each([
      ['UNAVAILABLE', 14],
      ['INTERNAL', 13],
      ['UNKNOWN', 2],
    ])('reads again after %s', async (_, status) => {
      const store = await openStore();
      await put(store, 'a', { n: 1 });
      proxy.inject('BatchGetDocuments', { kind: 'answer', status }, 2);
      expect((await store.get('things', 'a'))?.value).toEqual({ n: 1 });
      proxy.inject('RunQuery', { kind: 'answer', status }, 2);
      expect((await store.query({ collection: 'things', limit: 1 })).docs).toHaveLength(1);
    });

    it('repeats a commit that did not arrive', async () => {
      const store = await openStore();
      proxy.inject('Commit', { kind: 'answer', status: 14 }, 2);
      expect(await store.create('things', 'a', {})).toBe(true);
      proxy.inject('Commit', { kind: 'answer', status: 14 }, 2);
      await increment(store);
      expect((await store.get('things', 'n'))?.revision).toBe(1);
    });

    it('waits for a slow answer', async () => {
      const store = await openStore();
      proxy.inject('Commit', { kind: 'delay', ms: 300 });
      proxy.inject('BatchGetDocuments', { kind: 'delay', ms: 300 });
      await increment(store);
      expect((await store.get('things', 'n'))?.value).toEqual({ n: 1 });
    });

    it('reconnects when a connection is cut between two calls', async () => {
      const store = await openStore();
      await put(store, 'a');
      proxy.cut();
      expect(await store.get('things', 'a')).toBeDefined();
    });
  });

  describe('when Firestore does not answer', () => {
    it('ends a read at its deadline, cancels the call, and logs a warning', async () => {
      const log = keptLog();
      const store = await openStore({ log, limits: { readMs: SHORT_MS } });
      for (const [method, read] of [
        ['BatchGetDocuments', () => store.get('things', 'a')],
        ['RunQuery', () => store.query({ collection: 'things', limit: 1 })],
      ] as const) {
        proxy.inject(method, { kind: 'silence' });
        const { ms, error } = await timed(read());
        expect(error).toMatchObject({ code: 'deadline_exceeded' });
        expect(ms).toBeLessThan(SHORT_AND_MARGIN_MS);
      }
      // Warnings, not errors: the callers repeat or report the operation, and no operator has to act.
      expect(log.lines.map(({ level }) => level)).toEqual(['warn', 'warn']);
    });

    it('reports an unknown outcome for a write at its deadline', async () => {
      const store = await openStore({ limits: { writeMs: SHORT_MS } });
      for (const write of [() => store.create('things', 'a', {}), () => put(store, 'b'), () => increment(store)]) {
        proxy.inject('Commit', { kind: 'silence' });
        const { ms, error } = await timed(write());
        expect(error).toMatchObject({
          code: 'deadline_exceeded',
          message: expect.stringContaining('outcome unknown') as string,
        });
        expect(ms).toBeLessThan(SHORT_AND_MARGIN_MS);
      }
    });

    it('reports that nothing was written when a write ends before its commit', async () => {
      const store = await openStore({ limits: { writeMs: SHORT_MS } });
      proxy.inject('BatchGetDocuments', { kind: 'silence' });
      const { ms, error } = await timed(increment(store));
      expect(error).toMatchObject({
        code: 'unavailable',
        message: expect.stringContaining('nothing was written') as string,
      });
      expect(ms).toBeLessThan(SHORT_AND_MARGIN_MS);
      expect(proxy.callsOf('Commit')).toBe(0);
    });

    it('ends a transaction whose body never ends', async () => {
      const store = await openStore({ limits: { writeMs: SHORT_MS } });
      const { error } = await timed(store.transact(() => new Promise<void>(() => undefined)));
      expect(error).toMatchObject({ code: 'unavailable' });
    });

    it('stops waiting when its caller aborts, and cancels the call', async () => {
      const store = await openStore();
      for (const [method, call] of [
        ['BatchGetDocuments', (signal: AbortSignal) => store.get('things', 'a', { signal })],
        ['RunQuery', (signal: AbortSignal) => store.query({ collection: 'things', limit: 1 }, { signal })],
        ['Commit', (signal: AbortSignal) => store.create('things', 'a', {}, { signal })],
      ] as const) {
        const before = proxy.callsOf(method);
        proxy.inject(method, { kind: 'silence' });
        const caller = new AbortController();
        const calling = timed(call(caller.signal));
        await until(() => proxy.callsOf(method) === before + 1);
        caller.abort();
        const { ms, error } = await calling;
        expect(error).toMatchObject({ code: 'deadline_exceeded' });
        expect(ms).toBeLessThan(SHORT_AND_MARGIN_MS);
      }
      await until(() => proxy.cancelled === 3);
    });

    it('closes, and rejects the waiting operations', async () => {
      const store = await openStore({ limits: { closeMs: 100 } });
      proxy.inject('BatchGetDocuments', { kind: 'silence' });
      proxy.inject('Commit', { kind: 'silence' });
      proxy.inject('Listen', { kind: 'silence' });
      const before = proxy.calls.length;
      const watch = store.watch({ collection: 'things' }, () => undefined);
      const reading = timed(store.get('things', 'a'));
      const writing = timed(store.create('things', 'a', {}));
      await until(() => proxy.calls.length === before + 3);
      const { ms } = await timed(store.close());
      expect(ms).toBeLessThan(FIRESTORE_LIMITS.closeMs);
      expect((await reading).error).toMatchObject({ code: 'unavailable' });
      expect((await writing).error).toMatchObject({ code: 'deadline_exceeded' });
      await expect(watch.ready).rejects.toMatchObject({ code: 'unavailable' });
    });

    it('refuses calls beyond the limit of calls in flight', async () => {
      const store = await openStore({ limits: { calls: 200 } });
      proxy.inject('BatchGetDocuments', { kind: 'silence' }, Infinity);
      const controller = new AbortController();
      const { signal } = controller;
      const waiting = Array.from({ length: 200 }, () =>
        store.get('things', 'a', { signal }).catch(() => undefined),
      );
      await expect(store.get('things', 'a')).rejects.toMatchObject({ code: 'queue_full' });
      controller.abort();
      await Promise.all(waiting);
      proxy.heal();
      expect(await store.get('things', 'a')).toBeUndefined();
    });

    it('uses several connections for many calls', async () => {
      const store = await openStore();
      proxy.inject('BatchGetDocuments', { kind: 'delay', ms: 100 }, 250);
      await Promise.all(Array.from({ length: 250 }, () => store.get('things', 'a')));
      const calls = proxy.callsByConnection;
      expect(calls.length).toBeGreaterThan(1);
      // The first connection has already made a call.
      expect(Math.max(...calls)).toBeLessThanOrEqual(FIRESTORE_CALLS_PER_CHANNEL + 1);
    });
  });

  describe('when an answer is lost', () => {
    it.each(['error', 'connection'] as const)(
      'recognises its own document after a creation whose answer was lost (%s)',
      async (by) => {
        const store = await openStore();
        proxy.inject('Commit', { kind: 'lose', by });
        expect(await store.create('things', 'a', { n: 1 })).toBe(true);
        expect(await store.create('things', 'a', { n: 2 })).toBe(false);
        expect(await store.get('things', 'a')).toMatchObject({ revision: 1, value: { n: 1 } });
      },
    );

    it.each(['error', 'connection'] as const)('applies a transaction once (%s)', async (by) => {
      const store = await openStore();
      let runs = 0;
      const run = (): Promise<void> =>
        store.transact(async (tx) => {
          runs += 1;
          await tx.get('others', 'only-read');
          const n = Number((await tx.get('things', 'n'))?.value.n ?? 0);
          tx.put('things', 'n', { n: n + 1 });
        });
      proxy.inject('Commit', { kind: 'lose', by });
      await increment(store);
      proxy.inject('Commit', { kind: 'lose', by });
      await run();
      expect(runs).toBe(1);
      expect(await store.get('things', 'n')).toMatchObject({ revision: 2, value: { n: 2 } });
    });

    it('does not take a document of another writer for its own', async () => {
      const one = await open();
      const other = await openBeside(one);
      proxy.inject('Commit', { kind: 'answer', status: 14 });
      expect(await other.create('things', 'a', { same: true })).toBe(true);
      // The engine cannot know whether its commit arrived, so it must read the document.
      await expect(one.store.create('things', 'a', { same: true })).rejects.toMatchObject({
        code: 'deadline_exceeded',
      });
    });

    it('reports an unknown outcome when another writer has changed the document since', async () => {
      const one = await open();
      const other = await openBeside(one);
      proxy.inject('Commit', { kind: 'lose', by: 'error', meanwhile: () => put(other, 'n', { n: 100 }) });
      const { error } = await timed(increment(one.store));
      expect(error).toMatchObject({
        code: 'deadline_exceeded',
        message: expect.stringContaining('outcome unknown') as string,
      });
      expect((await one.store.get('things', 'n'))?.value).toEqual({ n: 100 });
    });

    it('repeats an unconditional deletion', async () => {
      const store = await openStore();
      await put(store, 'a');
      proxy.inject('Commit', { kind: 'lose', by: 'error' });
      await store.transact(async (tx) => tx.delete('things', 'a'));
      expect(await store.get('things', 'a')).toBeUndefined();
    });

    it('reports an unknown outcome for a conditional deletion', async () => {
      const store = await openStore();
      await put(store, 'a');
      proxy.inject('Commit', { kind: 'lose', by: 'error' });
      const deleting = store.transact(async (tx) => {
        if ((await tx.get('things', 'a')) !== undefined) tx.delete('things', 'a');
      });
      await expect(deleting).rejects.toMatchObject({ code: 'deadline_exceeded' });
    });
  });

  describe('when Firestore refuses', () => {
    it.each<[string, number, ErrorCode, string]>([
      ['NOT_FOUND', 5, 'unavailable', 'does not exist'],
      ['PERMISSION_DENIED', 7, 'unavailable', 'roles/datastore.user'],
      ['UNAUTHENTICATED', 16, 'unavailable', 'credentials'],
      ['RESOURCE_EXHAUSTED', 8, 'queue_full', 'quota'],
      ['FAILED_PRECONDITION', 9, 'unavailable', 'not set up'],
      ['INVALID_ARGUMENT', 3, 'internal', 'log'],
    ])('reports at once what to do about %s', async (_, status, code, says) => {
      const log = keptLog();
      const store = await openStore({ log });
      for (const method of ['BatchGetDocuments', 'RunQuery', 'Commit']) {
        proxy.inject(method, { kind: 'answer', status, message: 'secret detail' }, Infinity);
      }
      for (const call of [
        () => store.get('things', 'a'),
        () => store.query({ collection: 'things', limit: 1 }),
        () => store.create('things', 'a', {}),
        () => increment(store),
      ]) {
        const { ms, error } = await timed(call());
        expect(error).toMatchObject({ code, message: expect.stringContaining(says) as string });
        expect((error as Error).message).not.toContain('secret');
        expect(ms).toBeLessThan(SHORT_AND_MARGIN_MS);
      }
      expect(log.lines).toContainEqual(
        expect.objectContaining({ level: 'error', message: 'the store refused a request' }),
      );
    });

    it('refuses a document above its limit before anything is sent', async () => {
      const store = await openStore();
      const value = { text: 'x'.repeat(1024 * 1024) };
      await expect(put(store, 'a', value)).rejects.toMatchObject({ code: 'too_large', status: 413 });
      await expect(store.create('things', 'a', value)).rejects.toMatchObject({ code: 'too_large' });
      expect(proxy.callsOf('Commit')).toBe(0);
    });

    it('accepts the largest document that its limit allows', async () => {
      const store = await openStore();
      const value = { text: 'x'.repeat(1_048_487 - '{"text":""}'.length) };
      await expect(put(store, 'a', value)).rejects.toMatchObject({ code: 'too_large' });
      const smaller = { text: value.text.slice(200) };
      await put(store, 'a', smaller);
      expect((await store.get('things', 'a'))?.value).toEqual(smaller);
    });

    it('refuses a transaction above its limit before anything is sent', async () => {
      const store = await openStore();
      const writing = store.transact(async (tx) => {
        for (let i = 0; i < 11; i++) tx.put('things', `a${i}`, { text: 'x'.repeat(1_000_000) });
      });
      await expect(writing).rejects.toMatchObject({ code: 'too_large', status: 413 });
      expect(proxy.callsOf('Commit')).toBe(0);
    });

    it('reports at once that the emulator refuses a document that Firestore would accept', async () => {
      const store = await openStore();
      const { ms, error } = await timed(
        store.transact(async (tx) => {
          for (let i = 0; i < 5; i++) tx.put('things', `a${i}`, { text: 'x'.repeat(1_000_000) });
        }),
      );
      expect(error).toMatchObject({ code: 'too_large' });
      expect(ms).toBeLessThan(SHORT_AND_MARGIN_MS);
      expect(await store.get('things', 'a0')).toBeUndefined();
    });
  });

  describe('while watching', () => {
    const watchAll = async (
      store: Store,
      scope: { readonly prefix?: string } = {},
    ): Promise<{ readonly seen: Change[]; readonly told: () => readonly string[] }> => {
      const seen: Change[] = [];
      const watch = store.watch({ collection: 'things', ...scope }, (changes) => void seen.push(...changes));
      await watch.ready;
      return { seen, told: () => seen.map(({ id, deleted }) => (deleted ? `-${id}` : id)) };
    };

    it('begins the watch when Firestore becomes reachable', async () => {
      const store = await openStore();
      proxy.inject('Listen', { kind: 'answer', status: 14 }, 3);
      const { told } = await watchAll(store);
      await put(store, 'a');
      await until(() => told().length === 1);
    });

    it('reports a watch that cannot begin in time, and begins it later', async () => {
      const store = await openStore({ limits: { readMs: SHORT_MS } });
      proxy.inject('Listen', { kind: 'answer', status: 14 }, Infinity);
      const seen: string[] = [];
      const watch = store.watch({ collection: 'things' }, (changes) => seen.push(...changes.map(({ id }) => id)));
      await expect(watch.ready).rejects.toMatchObject({ code: 'unavailable' });
      proxy.heal();
      const before = proxy.callsOf('Listen');
      await until(() => proxy.callsOf('Listen') > before);
      for (let n = 0; seen.length === 0; n++) await put(store, 'a', { n });
      expect(seen[0]).toBe('a');
    });

    it('reports each change during a broken connection once', async () => {
      const one = await open();
      const other = await openBeside(one);
      for (const id of ['kept', 'changed', 'deleted']) await put(other, id);
      const { told } = await watchAll(one.store);
      proxy.inject('Listen', { kind: 'answer', status: 14 }, 2);
      proxy.cut();
      await put(other, 'changed', { n: 2 });
      await put(other, 'new');
      await other.transact(async (tx) => tx.delete('things', 'deleted'));
      await until(() => told().length === 3);
      await put(other, 'end');
      await until(() => told().includes('end'));
      expect([...told()].sort()).toEqual(['-deleted', 'changed', 'end', 'new']);
    });

    it('does not report the expiry of a document', async () => {
      const one = await open();
      await one.store.create('things', 'short', {}, { expiresAt: one.now() + 1000 });
      await one.store.create('things', 'long', {}, { expiresAt: one.now() + 100_000 });
      const { told } = await watchAll(one.store);
      one.advance(2000);
      proxy.cut();
      await put(one.store, 'end');
      await until(() => told().includes('end'));
      expect(told().filter((id) => id !== '-short')).toEqual(['end']);
    });
  });

  it('loses nothing when two stores change one document at once', async () => {
    const one = await open();
    const other = await openBeside(one);
    const stores = [one.store, other];
    await Promise.all(Array.from({ length: 20 }, (_, i) => increment(stores[i % 2]!)));
    expect(await other.get('things', 'n')).toMatchObject({ revision: 20, value: { n: 20 } });
  });

  it('serialises transactions of two stores when each reads the documents that the other writes', async () => {
    const one = await open();
    const other = await openBeside(one);
    await put(one.store, 'left', { on: true });
    await put(one.store, 'right', { on: true });
    // Each transaction turns one document off only while the other is on, so both are never off.
    const turnOff = (store: Store, id: string, else_: string): Promise<void> =>
      store.transact(async (tx) => {
        const [mine, theirs] = await tx.getAll('things', [id, else_]);
        if (mine?.value.on === true && theirs?.value.on === true) tx.put('things', id, { on: false });
      });
    await Promise.all([turnOff(one.store, 'left', 'right'), turnOff(other, 'right', 'left')]);
    const docs = await other.getAll('things', ['left', 'right']);
    expect(docs.filter((doc) => doc?.value.on === true)).toHaveLength(1);
  });

  it('reports what to do when there are no credentials', async () => {
    const before = process.env.GOOGLE_APPLICATION_CREDENTIALS;
    process.env.GOOGLE_APPLICATION_CREDENTIALS = '/nowhere/key.json';
    try {
      const store = await openStoreWithoutEmulator();
      const { ms, error } = await timed(store.get('things', 'a'));
      expect(error).toMatchObject({
        code: 'unavailable',
        message: expect.stringContaining('no Google Cloud credentials') as string,
      });
      expect(ms).toBeLessThan(SHORT_AND_MARGIN_MS);
      await store.close();
    } finally {
      if (before === undefined) delete process.env.GOOGLE_APPLICATION_CREDENTIALS;
      else process.env.GOOGLE_APPLICATION_CREDENTIALS = before;
    }
  });

  itRestartsEmulators('survives an emulator that stops and comes back empty', async () => {
    const emulator = await restartableEmulator('firestore');
    await emulator.start();
    const one = await openTemporaryFirestore(emulator.host);
    try {
      const { store } = one;
      await put(store, 'a', { n: 1 });
      const told: string[] = [];
      const watch = store.watch({ collection: 'things' }, (changes) =>
        told.push(...changes.map(({ id, deleted }) => (deleted ? `-${id}` : id))),
      );
      await watch.ready;
      await emulator.stop();
      for (const call of [
        () => store.get('things', 'a'),
        () => store.create('things', 'b', {}),
        () => increment(store),
      ]) {
        const { ms, error } = await timed(call());
        expect(error).toMatchObject({ code: 'unavailable' });
        expect(ms).toBeLessThan(SHORT_AND_MARGIN_MS);
      }
      await emulator.start();
      await until(() => told.includes('-a'));
      expect(await store.get('things', 'a')).toBeUndefined();
      await put(store, 'b');
      await until(() => told.includes('b'));
      expect(told).toEqual(['-a', 'b']);
    } finally {
      await one.close();
      await emulator.stop();
    }
  });
});

async function openStoreWithoutEmulator(): Promise<Store> {
  const { openFirestoreStore } = await import('@cmbs/shared/store/firestore');
  return openFirestoreStore({ clock: { now: () => 0 }, projectId: 'demo-none' });
}

const LOOK_MS = 10;

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error('what was awaited did not happen');
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
