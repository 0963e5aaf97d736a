/** How a watch reads Firestore's messages, including messages that the emulator never sends. */
import { ListenTarget, type Step } from '../../shared/store/firestore/listen';
import type { ListenResponse, TargetChange, Timestamp } from '../../shared/store/firestore/protocol';

const time = (nanos: number): Timestamp => ({ seconds: '1700000000', nanos });
const nameOf = (id: string): string => `projects/p/databases/(default)/documents/things/${id}`;

/** A message that reports a write of the document at `at`. */
const changed = (id: string, at: number, expires?: Timestamp): ListenResponse => ({
  documentChange: {
    document: {
      name: nameOf(id),
      fields: expires === undefined ? {} : { expires: { timestampValue: expires } },
      updateTime: time(at),
    },
    targetIds: [1],
    removedTargetIds: [],
  },
});
const deleted = (id: string): ListenResponse => ({ documentDelete: { document: nameOf(id) } });
const target = (targetChangeType: TargetChange['targetChangeType'], more: Partial<TargetChange> = {}) => ({
  targetChange: {
    targetChangeType,
    targetIds: targetChangeType === 'NO_CHANGE' ? [] : [1],
    cause: null,
    resumeToken: new Uint8Array([1]),
    readTime: null,
    ...more,
  },
});
const current = target('CURRENT');
const together = target('NO_CHANGE', { readTime: time(0) });

function feed(watched: ListenTarget, ...responses: readonly ListenResponse[]): Step | undefined {
  return responses.map((response) => watched.take(response)).at(-1);
}

const reported = (step: Step | undefined): unknown =>
  step?.kind === 'snapshot' ? step.changes.map(({ id, deleted: gone }) => (gone ? `-${id}` : id)) : step?.kind;

function begun(...ids: readonly string[]): ListenTarget {
  const watched = new ListenTarget(() => 1_700_000_000_000);
  watched.reconnect();
  feed(watched, target('ADD'), ...ids.map((id) => changed(id, 1)), current, together);
  return watched;
}

test('Documents that exist when the watch begins are not reported.', () => {
  const watched = new ListenTarget(() => 0);
  expect(reported(feed(watched, target('ADD'), changed('a', 1), current))).toBe('nothing');
  expect(reported(feed(watched, together))).toEqual([]);
});

test('Changes between two snapshots are reported together, in the order of the writes.', () => {
  const watched = begun('a', 'b');
  expect(reported(feed(watched, changed('b', 7), changed('c', 3), deleted('a'), together))).toEqual([
    'c',
    'b',
    '-a',
  ]);
});

test('A document that leaves the scope is reported as deleted; a document that was never in the scope is not.', () => {
  const watched = begun('a');
  expect(
    reported(feed(watched, { documentRemove: { document: nameOf('a') } }, deleted('never'), together)),
  ).toEqual(['-a']);
});

test('After a reset only differences are reported.', () => {
  const watched = begun('a', 'b', 'c');
  const again = [changed('a', 1), changed('b', 5), changed('d', 4)];
  expect(reported(feed(watched, target('RESET'), ...again, current, together))).toEqual(['d', 'b', '-c']);
});

test('Changes of a connection that broke before its snapshot are forgotten.', () => {
  const watched = begun('a');
  feed(watched, changed('b', 2));
  watched.reconnect();
  expect(watched.resumeToken).toBeDefined();
  expect(reported(feed(watched, changed('c', 3), current, together))).toEqual(['c']);
});

test('A different count restarts the watch without a token, and the missed deletion is reported.', () => {
  const watched = begun('a', 'b');
  watched.reconnect();
  expect(reported(feed(watched, changed('c', 2), { filter: { count: 3 } }))).toBe('nothing');
  expect(reported(feed(watched, { filter: { count: 2 } }))).toBe('restart');
  expect(watched.resumeToken).toBeUndefined();
  watched.reconnect();
  expect(reported(feed(watched, changed('b', 1), changed('c', 2), current, together))).toEqual(['c', '-a']);
});

test('An expired document counts as absent when it is written, listed again or removed.', () => {
  const watched = begun('a');
  const past = { seconds: '1699999999', nanos: 0 };
  expect(reported(feed(watched, changed('old', 2, past), together))).toEqual([]);
  expect(reported(feed(watched, deleted('old'), together))).toEqual([]);
  expect(reported(feed(watched, changed('a', 3, past), together))).toEqual(['-a']);
});

test('Expired documents that Firestore has not removed yet do not change the count.', () => {
  const watched = begun('a');
  feed(watched, changed('old', 2, { seconds: '1699999999', nanos: 0 }), together);
  watched.reconnect();
  expect(reported(feed(watched, { filter: { count: 2 } }))).toBe('nothing');
});

test('When Firestore ends the watch, the error has the reason.', () => {
  const cause = { code: 7, message: 'no' };
  expect(feed(begun(), target('REMOVE', { cause }))).toEqual({ kind: 'refused', code: 7, details: 'no' });
});

test('Beyond its limit, the watch reports a document each time it is listed, and each deletion that it receives.', () => {
  const watched = new ListenTarget(() => 0, 2);
  feed(watched, changed('a', 1), changed('b', 1), changed('c', 1), current, together);
  expect(watched.isOverflowing).toBe(true);
  const again = [changed('a', 1), changed('b', 1), changed('c', 1)];
  expect(reported(feed(watched, target('RESET'), ...again, current, together))).toEqual(['c']);
  expect(reported(feed(watched, deleted('c'), { filter: { count: 9 } }, together))).toEqual(['-c']);
});
