/** A message that is queued for an address that its member has left. */
import { Companion } from '../../companion/companion';
import { zeroMq } from '../../companion/exchanges/zeromq';
import { localAddresses } from '../../companion/address-policy';
import { newId, silentCounters, silentLog, systemClock } from '@cmbs/shared';
import {
  CMBS_EXTENSION,
  errorReply,
  MEMBER_KIND,
  ONLY_SHARD,
  OUTBOUND_MESSAGES,
  putOutbound,
} from '@cmbs/shared/broker';
import { embeddedBus } from '@cmbs/shared/bus/embedded';
import { readConfig } from '@cmbs/shared/config';
import { Categories, writeEntity } from '@cmbs/shared/occi';
import { standardServices } from '@cmbs/shared/services';
import { openTemporaryStore } from '../contract/temporary-store';
import { frameOf, ScriptedPeer } from '../e2e/broker-peers';
import { freePort } from './free-port';
import { becomes } from './sockets-support';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

test('a message follows its member at the first refusal', async () => {
  const temporary = await openTemporaryStore();
  const { store } = temporary;
  closing.push(() => temporary.close());
  const [old, now] = [`tcp://127.0.0.1:${await freePort()}`, `tcp://127.0.0.1:${await freePort()}`];
  let received = 0;
  const refusing = await ScriptedPeer.bind(old, () => errorReply({ code: 'misdirected', message: 'Not here.' }));
  const taking = await ScriptedPeer.bind(now, () => {
    received += 1;
    return '{}';
  });
  closing.push(
    () => refusing.close(),
    () => taking.close(),
  );
  const categories = new Categories(store, [CMBS_EXTENSION]);
  closing.push(() => categories.close());
  const { registry } = await categories.current();
  const member = (id: string, local: boolean, socket: string) => ({
    path: `/cmbs/member/${id}`,
    id,
    kind: MEMBER_KIND,
    mixins: [],
    attributes: { 'cmbs.member.local': String(local), 'cmbs.member.l31_socket': socket },
    rawJson: {},
    owner: 'nobody',
    createdAt: 1,
    updatedAt: 1,
  });
  await store.transact(async (tx) => {
    for (const one of [member('alice', true, ''), member('bob', false, now)])
      writeEntity(tx, one, undefined, registry);
  });
  const base = { store, clock: systemClock, newId, log: silentLog, counters: silentCounters };
  const bus = embeddedBus(base);
  closing.push(() => bus.close());
  const companion = await Companion.start({
    ...base,
    bus,
    categories,
    services: standardServices(base),
    deployment: 'here',
    uriOf: (path) => `http://127.0.0.1:1${path}`,
    discovery: 'closed',
    inboxLimit: 10,
    inboxBytes: 1_000_000,
    queueLimit: 10,
    exchanges: [zeroMq(localAddresses(readConfig({})))],
  });
  closing.push(() => companion.close());
  // Like a function that read the members a moment too early.
  await store.transact(async (tx) =>
    putOutbound(tx, {
      id: 'late',
      wireId: 'late',
      message: '/cmbs/message/late',
      layer: 'l31',
      from: '/cmbs/member/alice',
      shard: ONLY_SHARD,
      createdAt: 1,
      sequence: 1,
      expiresAt: systemClock.now() + 3_600_000,
      receivers: [
        { name: 'bob', via: 'request', address: old, member: '/cmbs/member/bob', state: 'queued', attempts: 0 },
      ],
      frame: frameOf('late', {}, 'l31'),
    }),
  );
  await becomes(() => received === 1, 'the member has the message', 60_000);
  let isSettled = false;
  await becomes(
    () => {
      void store.get(OUTBOUND_MESSAGES, 'late').then((doc) => (isSettled = doc === undefined));
      return isSettled;
    },
    'no message waits any more',
    60_000,
  );
});
