import { InboxWaiting } from '@cmbs/functions/inbox-waiting';

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
