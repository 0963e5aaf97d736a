/** Claims of outbound messages: which companion may send a message, after its shard has had several holders. */
import { allowAll, silentLog } from '@cmbs/shared';
import {
  CMBS_EXTENSION,
  deliveryKey,
  layersOf,
  putOutbound,
  readOutbound,
  type OutboundMessage,
} from '@cmbs/shared/broker';
import { Categories } from '@cmbs/shared/occi';
import { CLAIM_AFTER_MS, Claims } from '../../companion/delivery/claim';
import { InFlightMessage, type QueueItem } from '../../companion/delivery/in-flight-message';
import { OutgoingFrames } from '../../companion/delivery/outgoing-frames';
import { shardLease } from '../../companion/shard-lease';
import { OUTBOUND_MESSAGES } from '../../shared/broker/outbound-record';
import { Shards } from '../../shared/broker/shards';
import { ManualClock } from '../contract/manual-clock';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';

const ADDRESS = 'tcp://127.0.0.1:1';
const DELIVERY = { name: ADDRESS, via: 'request', address: ADDRESS, state: 'queued', attempts: 0 } as const;
const FRAME = Buffer.from('frame');
/** Bytes of a frame, more than a third of what frames may take. */
const LARGE = 64 * 1024 * 1024;

let temporary: TemporaryStore;
let categories: Categories;
/** Items that the claim gave up or settled. */
let ended: string[];
let clock: ManualClock;
beforeEach(async () => {
  clock = new ManualClock();
  temporary = await openTemporaryStore();
  categories = new Categories(temporary.store, [CMBS_EXTENSION]);
  ended = [];
});
afterEach(async () => {
  categories.close();
  await temporary.close();
});

/** Stores an outbound message that this holder has claimed, and returns its item as a queue holds it. */
async function stored(holder: string | undefined): Promise<QueueItem> {
  const outbound: OutboundMessage = {
    id: 'outbound',
    wireId: 'outbound',
    message: '/cmbs/message/note',
    layer: 'l1',
    from: '/cmbs/member/alice',
    createdAt: 1,
    sequence: 1,
    expiresAt: Number.MAX_SAFE_INTEGER,
    receivers: [DELIVERY],
    ...(holder === undefined ? {} : { holder }),
  };
  await temporary.store.transact((tx) => {
    putOutbound(tx, outbound);
    return Promise.resolve();
  });
  const message = new InFlightMessage(outbound);
  message.trying.add(deliveryKey(DELIVERY));
  return {
    message,
    key: deliveryKey(DELIVERY),
    address: ADDRESS,
    sequence: '1',
    tries: 0,
  };
}

function claims(epoch: number, isCurrent = (): boolean => true): Claims {
  const note = (how: string) => (): void => void ended.push(how);
  return new Claims({
    environment: {
      store: temporary.store,
      clock,
      log: silentLog,
      categories,
      layers: layersOf(),
      authorize: allowAll,
      members: {
        get: () => undefined,
        find: async () => undefined,
        findAll: async () => new Map(),
        refresh: async () => undefined,
        onChange: () => () => undefined,
      },
      shard: shardLease('main', { epoch, isCurrent }, new Shards(['main=127.0.0.1'], layersOf())),
    },
    frames: { of: async (_message, _isFailing, read) => ((await read()) === undefined ? undefined : FRAME) },
    replies: { isTooMuchFor: () => false },
    settlement: { settle: note('settled'), expire: note('expired'), drop: note('dropped') },
  });
}

const holder = async (): Promise<string | undefined> =>
  (await readOutbound(temporary.store, 'outbound'))?.outbound.holder;

/** Lets the time go by after which claims are written, and waits for them. */
async function longEnough({ message }: QueueItem): Promise<void> {
  clock.advance(CLAIM_AFTER_MS);
  await message.claim?.writing;
}

describe('a claim', () => {
  it.each([undefined, 'main#2', 'main#3'])('is taken from %s, a holder that is not later', async (earlier) => {
    const item = await stored(earlier);
    expect(await claims(3).prepare(item, false)).toEqual(FRAME);
    expect([await holder(), ended]).toEqual([earlier, []]);
    await longEnough(item);
    expect([await holder(), ended]).toEqual(['main#3', []]);
  });

  it('is not written for a message that has its outcome before', async () => {
    const item = await stored(undefined);
    expect(await claims(3).prepare(item, false)).toEqual(FRAME);
    item.message.stopTrying(item.key);
    await longEnough(item);
    expect(await holder()).toBeUndefined();
  });

  it('is refused when a later holder of the shard has it, and the later claim stays', async () => {
    const item = await stored('main#4');
    await expect(claims(3).prepare(item, false)).rejects.toHaveProperty('code', 'unavailable');
    await longEnough(item);
    expect([await holder(), ended]).toEqual(['main#4', []]);
    // The present holder of the shard may claim the message again.
    expect(await claims(5).prepare(item, false)).toEqual(FRAME);
    await longEnough(item);
    expect(await holder()).toBe('main#5');
  });

  it('is not written over that of a later holder, which came while the message was in flight', async () => {
    const item = await stored('main#2');
    expect(await claims(3).prepare(item, false)).toEqual(FRAME);
    await stored('main#4');
    await longEnough(item);
    expect(await holder()).toBe('main#4');
  });

  it('is not even tried when the lease is over', async () => {
    const item = await stored('main#2');
    await expect(claims(3, () => false).prepare(item, false)).rejects.toHaveProperty('code', 'unavailable');
    await longEnough(item);
    expect(await holder()).toBe('main#2');
  });

  it('is not written once the lease is over', async () => {
    const item = await stored(undefined);
    let isCurrent = true;
    expect(await claims(3, () => isCurrent).prepare(item, false)).toEqual(FRAME);
    isCurrent = false;
    await longEnough(item);
    expect(await holder()).toBeUndefined();
  });

  it('is written for a later attempt too', async () => {
    const item = await stored(undefined);
    const taken = claims(3);
    expect(await taken.prepare(item, false)).toEqual(FRAME);
    item.message.stopTrying(item.key);
    clock.advance(CLAIM_AFTER_MS);
    item.message.trying.add(item.key);
    expect(await taken.prepare(item, false)).toEqual(FRAME);
    await longEnough(item);
    expect(await holder()).toBe('main#3');
  });

  it('ends with nothing to send when the message is gone', async () => {
    const item = await stored(undefined);
    await temporary.store.transact((tx) => {
      tx.delete(OUTBOUND_MESSAGES, 'outbound');
      return Promise.resolve();
    });
    expect(await claims(3).prepare(item, false)).toBeUndefined();
    expect(ended).toContain('dropped');
  });
});

const nobody = {
  get: () => undefined,
  find: () => Promise.resolve(undefined),
  findAll: () => Promise.resolve(new Map()),
  refresh: () => Promise.resolve(undefined),
  onChange: () => () => undefined,
};

it('messages that are gone keep no bytes of the memory for frames', async () => {
  const frames = new OutgoingFrames({
    members: nobody,
    deployment: 'here',
    proofs: undefined,
    uriOf: (path) => path,
    layers: layersOf(),
  });
  for (let nth = 0; nth < 3; nth += 1) {
    const { message } = await stored(undefined);
    const large = new InFlightMessage({ ...message.outbound, bytes: LARGE });
    large.trying.add('of another queue');
    expect(await frames.of(large, false, () => Promise.resolve(undefined))).toBeUndefined();
  }
});
