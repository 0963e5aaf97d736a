/**
 * The lease of a shard between companions, each with its own clock that the test moves: one clock may stop while the
 * other goes on, as when a machine is paused.
 */
import { newId, silentLog, type Clock, type Log } from '@cmbs/shared';
import { acquireLease, type Lease, readLease } from '@cmbs/shared/broker';
import { LEASE_LIMITS } from '@cmbs/shared/broker';
import { LEASE_RENEW_MS } from '../../shared/broker/lease';
import { ManualClock } from '../contract/manual-clock';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';
import { within } from './sockets-support';

let opened: TemporaryStore;
const stop = new AbortController();
beforeEach(async () => {
  opened = await openTemporaryStore();
});
afterEach(() => opened.close());
afterAll(() => stop.abort());

class Companion {
  readonly clock = new ManualClock();
  lease: Lease | undefined;
  isLost = false;

  constructor(readonly name: string) {}

  acquire(
    signal: AbortSignal = stop.signal,
    store: Parameters<typeof acquireLease>[0]['store'] = opened.store,
    log = silentLog,
  ): Promise<Lease | undefined> {
    const clock: Clock = this.clock;
    return acquireLease(
      {
        store,
        clock,
        log,
        shard: 'main',
        holder: this.name,
        url: `http://${this.name}`,
        monotonic: () => this.clock.now(),
      },
      signal,
    ).then((lease) => {
      this.lease = lease;
      void lease?.lost.then(() => (this.isLost = true));
      return lease;
    });
  }

  /** Moves the clock of this companion by about `ms` and waits for the resulting work. */
  async live(ms: number): Promise<void> {
    const end = this.clock.now() + ms;
    while (this.clock.now() < end) {
      await within(this.clock.waiting(), `${this.name} waits for something`);
      this.clock.runNext();
      await settled();
    }
  }
}

/** Waits until the store's work and its consequences are done. */
async function settled(): Promise<void> {
  // A commit is durable after all earlier commits.
  for (let turn = 0; turn < 4; turn += 1) await opened.store.create('settled', newId(), {}).catch(() => false);
  for (let turn = 0; turn < 4; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

it('a lease is taken at once while it is free, and its holder can be read', async () => {
  const one = new Companion('one');
  expect((await within(one.acquire(), 'the lease'))?.epoch).toBe(1);
  expect(one.lease?.isCurrent()).toBe(true);
  expect(await readLease(opened.store, 'main')).toMatchObject({ holder: 'one', url: 'http://one', epoch: 1 });
  expect(await readLease(opened.store, 'other')).toBeUndefined();
});

it('a lease stays with a holder that renews it, however long another companion waits', async () => {
  const [one, two] = [new Companion('one'), new Companion('two')];
  await one.acquire();
  void two.acquire();
  await settled();
  for (let round = 0; round < 20; round += 1) {
    await one.live(LEASE_RENEW_MS);
    await two.live(LEASE_RENEW_MS);
  }
  expect(two.lease).toBeUndefined();
  expect([one.lease?.isCurrent(), one.isLost]).toEqual([true, false]);
  expect(await readLease(opened.store, 'main')).toMatchObject({ holder: 'one', epoch: 1 });
});

it('a lease goes to a waiting companion after its full time without a renewal, and not sooner', async () => {
  const [one, two] = [new Companion('one'), new Companion('two')];
  await one.acquire();
  const waiting = two.acquire();
  await settled();
  const began = two.clock.now();
  while (two.lease === undefined) await two.live(1);
  expect((await waiting)?.epoch).toBe(2);
  expect(two.clock.now() - began).toBeGreaterThanOrEqual(LEASE_LIMITS.ttlMs);
  expect(two.clock.now() - began).toBeLessThan(LEASE_LIMITS.ttlMs + 3000);
  expect(await readLease(opened.store, 'main')).toMatchObject({ holder: 'two', epoch: 2 });
});

it('a lease ends for its holder well before another companion may take it, even while the store is unavailable', async () => {
  const one = new Companion('one');
  await one.acquire();
  await opened.store.close();
  const began = one.clock.now();
  while (!one.isLost) await one.live(1).catch(() => undefined);
  expect(one.clock.now() - began).toBeLessThanOrEqual(LEASE_LIMITS.ttlMs - LEASE_LIMITS.marginMs + 1);
  expect(one.lease?.isCurrent()).toBe(false);
});

it('a lease ends for a paused holder before the holder does anything else', async () => {
  const [one, two] = [new Companion('one'), new Companion('two')];
  await one.acquire();
  void two.acquire();
  await settled();
  while (two.lease === undefined) await two.live(1);
  // The holder wakes up: its clock has moved, but none of its timers has run.
  const cancel = one.clock.after(LEASE_LIMITS.ttlMs, () => undefined);
  cancel();
  let isCurrent = true;
  while (!one.isLost) {
    one.clock.runNext();
    await settled();
    isCurrent = one.lease?.isCurrent() ?? false;
  }
  expect(isCurrent).toBe(false);
  expect(await readLease(opened.store, 'main')).toMatchObject({ holder: 'two', epoch: 2 });
  // The close of the former holder changes nothing.
  await one.lease?.release();
  expect(await readLease(opened.store, 'main')).toMatchObject({ holder: 'two', epoch: 2 });
  expect(two.lease.isCurrent()).toBe(true);
});

it('a lease is taken at once after its release', async () => {
  const [one, two] = [new Companion('one'), new Companion('two')];
  await one.acquire();
  const waiting = two.acquire();
  await settled();
  const began = two.clock.now();
  await one.lease?.release();
  expect(await readLease(opened.store, 'main')).toBeUndefined();
  expect((await within(waiting, 'the released lease'))?.epoch).toBe(2);
  expect(two.clock.now()).toBe(began);
  expect(one.isLost).toBe(false);
});

it('a lease is taken by one of many waiting companions', async () => {
  const one = new Companion('one');
  await one.acquire();
  const others = ['two', 'three', 'four', 'five'].map((name) => new Companion(name));
  const waits = others.map((other) => other.acquire());
  await settled();
  await one.lease?.release();
  await within(Promise.any(waits), 'one of them');
  for (let turn = 0; turn < 20; turn += 1) await settled();
  expect(others.filter(({ lease }) => lease !== undefined)).toHaveLength(1);
});

it('a lease is not acquired after its caller aborts', async () => {
  const [one, two] = [new Companion('one'), new Companion('two')];
  await one.acquire();
  const leaving = new AbortController();
  const waiting = two.acquire(leaving.signal);
  await settled();
  leaving.abort();
  expect(await within(waiting, 'the end of the wait')).toBeUndefined();
});

it('a lease is not taken too early by a companion with slow reads', async () => {
  const [one, two] = [new Companion('one'), new Companion('two')];
  await one.acquire();
  let look = (): void => undefined;
  const gate = new Promise<void>((resolve) => (look = resolve));
  // Only the first read of the second companion hangs, for seven seconds of its clock.
  let isFirst = true;
  const { store } = opened;
  const slow: Parameters<typeof acquireLease>[0]['store'] = {
    watch: (...what) => store.watch(...what),
    transact: async (body) => {
      if (isFirst) {
        isFirst = false;
        await gate;
      }
      return store.transact(body);
    },
  };
  void two.acquire(stop.signal, slow);
  await settled();
  two.clock.after(7000, () => undefined);
  await two.live(7000);
  // The lease that it read was renewed during the read.
  await one.live(LEASE_RENEW_MS);
  look();
  await settled();
  await two.live(LEASE_LIMITS.ttlMs - 7000 + 100);
  expect(two.lease).toBeUndefined();
  await two.live(LEASE_LIMITS.ttlMs);
  expect(two.lease?.epoch).toBe(2);
});

test('a companion that waits logs once that it stands by', async () => {
  const holder = new Companion('holder');
  await holder.acquire();
  const lines: string[] = [];
  const log: Log = { ...silentLog, info: (message) => void lines.push(message) };
  const standby = new Companion('standby');
  const giveUp = new AbortController();
  const waiting = standby.acquire(giveUp.signal, opened.store, log);
  await settled();
  await standby.live(LEASE_LIMITS.ttlMs / 2);
  expect(lines).toEqual(['standing by: another companion holds the shard']);
  giveUp.abort();
  await waiting;
  await holder.lease?.release();
});
