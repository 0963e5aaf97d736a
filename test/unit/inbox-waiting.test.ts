import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { systemClock } from '@cmbs/shared';
import type { Store } from '@cmbs/shared/store';
import { InboxWaiting } from '../../shared/broker/inbox-waiting';
import { InboxWatch } from '../../shared/broker/inbox-watch';
import { within } from '../waits';

const empty = (more: { readonly next?: string; readonly leaseEndsInMs?: number } = {}) => ({
  entries: [],
  leased: 0,
  ...more,
});

describe('a waiting reader of an inbox', () => {
  it('waits for an arrival, and looks again after fifteen seconds', () => {
    const waiting = new InboxWaiting();
    expect(waiting.cursor).toEqual({});
    expect(waiting.pauseAfter(empty())).toBe(15_000);
    expect(waiting.cursor).toEqual({});
  });

  it('looks again when a lease ends', () => {
    const waiting = new InboxWaiting();
    expect(waiting.pauseAfter(empty({ leaseEndsInMs: 4000 }))).toBe(4000);
    expect(waiting.pauseAfter(empty({ leaseEndsInMs: 60_000 }))).toBe(15_000);
    // Another reader was faster: its lease is not known yet.
    expect(waiting.pauseAfter(empty({ leaseEndsInMs: 0 }))).toBe(50);
  });

  it('reads on behind many leased entries before it waits, and then from its start again', () => {
    const waiting = new InboxWaiting('start');
    expect(waiting.cursor).toEqual({ cursor: 'start' });
    expect(waiting.pauseAfter(empty({ next: 'second', leaseEndsInMs: 3000 }))).toBe(0);
    expect(waiting.cursor).toEqual({ cursor: 'second' });
    // The lease of the first part ends earlier.
    expect(waiting.pauseAfter(empty({ leaseEndsInMs: 9000 }))).toBe(3000);
    expect(waiting.cursor).toEqual({ cursor: 'start' });
    expect(waiting.pauseAfter(empty({ leaseEndsInMs: 9000 }))).toBe(9000);
  });
});

describe('the watch of an inbox', () => {
  const store = { watch: () => ({ ready: Promise.resolve(), end: () => undefined }) } as unknown as Store;

  it('ends a wait in time, also when the garbage collector runs meanwhile', async () => {
    setFlagsFromString('--expose_gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const watch = new InboxWatch(store, systemClock, 'inbox', '/cmbs/member/alice');
    const { signal } = new AbortController();
    // Node 20 forgets AbortSignal.timeout() inside of AbortSignal.any(), and the wait would never end.
    const waits = [watch.changed(100, signal), watch.ready(100, signal)];
    const collecting = setInterval(collectGarbage, 10);
    try {
      await within(Promise.all(waits), 'the end of the waits');
    } finally {
      clearInterval(collecting);
    }
  });
});
