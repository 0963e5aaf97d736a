/** Inbound messages: an inbox stays within its limits under concurrent arrivals, and each delivery is stored once. */
import { allowAll, ANONYMOUS, newId, silentCounters, silentLog, systemClock, type JsonObject } from '@cmbs/shared';
import {
  CMBS_EXTENSION,
  layersOf,
  Execution,
  InboundHandler,
  Inbox,
  MemberRegistration,
  oldReceiptId,
  ONLY_SHARD,
  OrderClock,
  parseFrame,
  type WireMessage,
} from '@cmbs/shared/broker';
import { inboxOf } from '../../shared/broker/receipt';
import { INBOX_MEASURED_FOR_MS } from '../../shared/broker/inbox-room';
import { Categories } from '@cmbs/shared/occi';
import { codecsOf, standardServices } from '@cmbs/shared/services';
import { deploymentId, type Store } from '@cmbs/shared/store';
import { ALICE } from '../fixtures/alice';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';

let temporary: TemporaryStore;
let categories: Categories;
beforeEach(async () => {
  temporary = await openTemporaryStore();
  categories = new Categories(temporary.store, [CMBS_EXTENSION]);
});
afterEach(async () => {
  categories.close();
  await temporary.close();
});

function handlerWith(limits: { readonly inboxLimit: number; readonly inboxBytes: number }): InboundHandler {
  const { store, clock } = temporary;
  const order = OrderClock.ofProcess(clock);
  const uriOf = (path: string): string => `http://here.example${path}`;
  const context = {
    store,
    categories,
    layers: layersOf(),
    authorize: allowAll,
    clock,
    order,
    newId,
    log: silentLog,
    counters: silentCounters,
    deployment: 'here',
    ...limits,
    uriOf,
  };
  const members = { find: () => Promise.resolve(undefined), refresh: () => Promise.resolve(undefined) };
  const services = standardServices({ clock: systemClock, newId });
  return new InboundHandler({
    context,
    registration: new MemberRegistration({ ...context, discovery: 'closed', members, shardOf: () => ONLY_SHARD }),
    execution: new Execution({ ...context, services, codecs: codecsOf(), runner: 'test', isOurs: () => true }),
  });
}

function message(id: string, fields: JsonObject = {}): WireMessage {
  return parseFrame(
    JSON.stringify({
      kind: 'http://houssem.org/cmbs#message',
      id,
      attributes: { cmbs: { message: { executable: 'false', message_content: 'x', ...fields } } },
    }),
  );
}

const inInbox = async (): Promise<number> => (await temporary.store.measure(inboxOf('alice'), 100_000)).count;

/** `taken`, or the code of the refusal. */
const outcome = (received: Promise<unknown>): Promise<string> =>
  received.then(
    () => 'taken',
    (error: unknown) => (error as { readonly code: string }).code,
  );

describe('a full inbox', () => {
  test('never exceeds its limit under concurrent arrivals and during measurements', async () => {
    const handler = handlerWith({ inboxLimit: 100, inboxBytes: 1_000_000 });
    const outcomes: Promise<string>[] = [];
    // Receipts are written throughout; each round may measure the inbox again.
    for (let round = 0; round < 20; round += 1) {
      for (let index = 0; index < 20; index += 1) {
        const flags = { storable: String(index % 2 === 0) };
        outcomes.push(outcome(handler.handle(ALICE, 'l1', message(`m-${round}-${index}`, flags))));
      }
      temporary.advance(2000);
      await Promise.race(outcomes.slice(-20));
    }
    const all = await Promise.all(outcomes);
    await handler.flush();
    expect(await inInbox()).toBe(all.filter((one) => one === 'taken').length);
    expect(await inInbox()).toBe(100);
    expect(new Set(all)).toEqual(new Set(['taken', 'queue_full']));
  });

  test('accepts messages after entries are acknowledged, and a repeated message takes no room', async () => {
    const handler = handlerWith({ inboxLimit: 3, inboxBytes: 1_000_000 });
    const again = { transfer: { v: 1, send_id: 's', hops: ['d/bob'] } };
    for (let time = 0; time < 5; time += 1) await handler.handle(ALICE, 'l1', message('again', again));
    await handler.handle(ALICE, 'l1', message('second'));
    await handler.handle(ALICE, 'l1', message('third'));
    expect(await outcome(handler.handle(ALICE, 'l1', message('fourth')))).toBe('queue_full');
    const inbox = new Inbox(temporary.store, temporary.clock, newId);
    const { entries } = await inbox.read(ANONYMOUS, ALICE, { limit: 1, leaseMs: 0 });
    await inbox.acknowledge(ANONYMOUS, ALICE, [{ id: entries[0]?.id ?? '' }]);
    temporary.advance(2000);
    expect(await outcome(handler.handle(ALICE, 'l1', message('fourth')))).toBe('taken');
    expect(await inInbox()).toBe(3);
  });

  test('counts the answers of calls', async () => {
    const handler = handlerWith({ inboxLimit: 1000, inboxBytes: 100_000 });
    const call = { executable: 'true', message_content: { method: 'echo.echo', params: ['x'.repeat(10_000)] } };
    const outcomes: string[] = [];
    for (let index = 0; index < 10; index += 1) {
      outcomes.push(await outcome(handler.handle(ALICE, 'l1', message(`call-${index}`, call))));
    }
    expect(outcomes.filter((one) => one === 'taken')).toHaveLength(5);
    // The inbox exceeds its limit by no more than the answer of the last accepted call.
    expect((await temporary.store.measure(inboxOf('alice'), 1000)).bytes).toBeLessThan(115_000);
  });

  test('is measured again from time to time to count entries of other processes', async () => {
    const limits = { inboxLimit: 10, inboxBytes: 1_000_000 };
    const [one, other] = [handlerWith(limits), handlerWith(limits)];
    await one.handle(ALICE, 'l1', message('first'));
    for (let index = 0; index < 9; index += 1) await other.handle(ALICE, 'l1', message(`other-${index}`));
    temporary.advance(INBOX_MEASURED_FOR_MS);
    expect(await outcome(one.handle(ALICE, 'l1', message('next')))).toBe('queue_full');
  });

  test('accepts messages after entries are acknowledged, even if the clock was set back', async () => {
    const handler = handlerWith({ inboxLimit: 2, inboxBytes: 1_000_000 });
    for (const id of ['first', 'second']) await handler.handle(ALICE, 'l1', message(id));
    expect(await outcome(handler.handle(ALICE, 'l1', message('third')))).toBe('queue_full');
    const inbox = new Inbox(temporary.store, temporary.clock, newId);
    const { entries } = await inbox.read(ANONYMOUS, ALICE, { limit: 1, leaseMs: 0 });
    await inbox.acknowledge(ANONYMOUS, ALICE, [{ id: entries[0]?.id ?? '' }]);
    temporary.advance(-3_600_000);
    expect(await outcome(handler.handle(ALICE, 'l1', message('third')))).toBe('taken');
  });

  test('is limited in bytes, including entries from before the start', async () => {
    const large = { message_content: 'x'.repeat(10_000) };
    const limits = { inboxLimit: 1000, inboxBytes: 100_000 };
    const before = handlerWith(limits);
    for (let index = 0; index < 5; index += 1) await before.handle(ALICE, 'l1', message(`before-${index}`, large));
    const after = handlerWith(limits);
    const all = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        outcome(after.handle(ALICE, 'l1', message(`after-${index}`, large))),
      ),
    );
    expect(all.filter((one) => one === 'taken')).toHaveLength(4);
    expect((await temporary.store.measure(inboxOf('alice'), 1000)).bytes).toBeLessThanOrEqual(100_000);
    expect(await outcome(after.handle(ALICE, 'l1', message('small')))).toBe('taken');
    const huge = message('huge', { message_content: 'x'.repeat(100_000) });
    expect(await outcome(after.handle(ALICE, 'l1', huge))).toBe('too_large');
  });
});

describe.each([
  ['that is stored', { storable: 'true' }],
  ['that is not stored', { storable: 'false' }],
  ['that is executed', { executable: 'true', message_content: { method: 'echo.echo', params: [1] } }],
])('a message %s', (_what, fields) => {
  const sent = (by: string, more: JsonObject = {}): WireMessage =>
    message('note', { ...fields, ...more, transfer: { v: 1, send_id: 's', hops: [by] } });

  test('is stored once however it is repeated, and does not hide a message of another sender with the same ids', async () => {
    const handler = handlerWith({ inboxLimit: 10, inboxBytes: 1_000_000 });
    await handler.handle(ALICE, 'l1', sent('stranger/x', { path_history: ['http://h/cmbs/member/bob'] }));
    await handler.handle(ALICE, 'l1', sent('d/bob', { path_history: ['http://h:1/cmbs/member/bob'] }));
    await handler.handle(ALICE, 'l1', sent('d/bob', { path_history: ['http://h:2/cmbs/member/bob'] }));
    await handler.flush();
    expect(await inInbox()).toBe(2);
  });

  test('is recognised when an earlier release received it', async () => {
    const { store } = temporary;
    await asOfEarlierRelease(store, oldReceiptId(sent('d/bob'), 's'));
    const handler = handlerWith({ inboxLimit: 10, inboxBytes: 1_000_000 });
    await handler.handle(ALICE, 'l1', sent('d/bob'));
    await handler.flush();
    expect(await inInbox()).toBe(1);
  });
});

/** A deployment of an earlier release, with one receipt. */
async function asOfEarlierRelease(store: Store, id: string): Promise<void> {
  await store.transact((tx) => {
    tx.put('meta', 'deployment', { id: 'made before' });
    const receipt = { messageId: 'note', sendId: 's', layer: 'l1', frame: '{}', state: 'executed', answer: '{}' };
    tx.put(inboxOf('alice'), id, { ...receipt, receivedAt: 1 }, { order: '1' });
    return Promise.resolve();
  });
  expect(await deploymentId(store, newId)).toBe('made before');
}
