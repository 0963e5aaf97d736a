/** Parts of the companion. Each is built with its own ports only: no store, no socket, no other part. */
import { ANONYMOUS, CmbsError, newId, silentCounters, silentLog, systemClock } from '@cmbs/shared';
import { layerMixin, layersOf, MEMBER, MEMBER_KIND, MEMBERS, MESSAGE, messageFrame } from '@cmbs/shared/broker';
import type { Bus, BusDelivery } from '@cmbs/shared/bus';
import type { Entity } from '@cmbs/shared/occi';
import { Discovery } from '../../companion/discovery';
import { PeerError, type RequestConnection } from '../../companion/exchanges/exchange';
import { FrameHandler, type FrameHandlerEnvironment } from '../../companion/frame-handler';
import { TopicSubscription } from '../../companion/topic-subscription';

const layers = layersOf();

const member = (id: string, attributes: Entity['attributes'] = {}): Entity => ({
  path: MEMBERS + id,
  id,
  kind: MEMBER_KIND,
  mixins: [],
  attributes: { [MEMBER.local]: 'true', [MEMBER.socket('l1')]: `tcp://127.0.0.1/${id}`, ...attributes },
  rawJson: {},
  owner: 'nobody',
  createdAt: 1,
  updatedAt: 1,
});

const frameTo = (to: readonly string[], hops: readonly string[] = []): Buffer =>
  Buffer.from(
    messageFrame(
      {
        id: 'm1',
        mixins: [layerMixin('l1')],
        attributes: { [MESSAGE.layer]: 'l1', [MESSAGE.storable]: 'true' },
        rawJson: {},
      },
      { content: '"hello"', pathHistory: ['http://there/cmbs/member/alice'], transfer: { v: 1, to, hops } },
    ),
  );

describe('the frame handler', () => {
  const bob = member('bob');
  let known: readonly Entity[];
  let isCurrent: boolean;
  let taken: string[];
  let heard: string[];
  let areSomeWaiting: boolean;
  let handler: FrameHandler;

  beforeEach(() => {
    known = [bob];
    isCurrent = true;
    taken = [];
    heard = [];
    areSomeWaiting = true;
    const environment: FrameHandlerEnvironment = {
      members: {
        get: (path) => known.find((one) => one.path === path),
        find: (path) => Promise.resolve(known.find((one) => one.path === path)),
        l1Sockets: () => Promise.resolve(['tcp://127.0.0.1/bob']),
      },
      shard: { isCurrent: () => isCurrent },
      layers,
      log: silentLog,
      counters: silentCounters,
      deployment: 'here',
      uriOf: (path) => `http://here${path}`,
    };
    const inbound = {
      handle: async ({ id }: Entity) => {
        taken.push(id);
        return undefined;
      },
      handleBusDelivery: () => Promise.resolve(),
      registerFrom: () => Promise.resolve(),
    };
    const forwarding = { passOn: () => Promise.resolve('forwarded' as const) };
    handler = new FrameHandler(environment, inbound, forwarding, {
      areSome: () => areSomeWaiting,
      heard: (address) => heard.push(address),
    });
  });

  const replyTo = async (frame: Buffer): Promise<string> => handler.reply(bob.path, 'l1', frame);

  test('answers a frame for the member with a description of the member', async () => {
    const reply = JSON.parse(await replyTo(frameTo(['bob']))) as Record<string, unknown>;
    expect(taken).toEqual(['bob']);
    expect(reply.sockets_l1).toEqual(['tcp://127.0.0.1/bob']);
    expect(reply.transfer).toEqual({
      v: 1,
      origin: { deployment: 'here', revision: 1, uri: 'http://here/cmbs/member/bob' },
    });
  });

  test('refuses a frame for another member and does not accept its message', async () => {
    expect(await replyTo(frameTo(['carol']))).toContain('misdirected');
    expect(taken).toEqual([]);
  });

  test('refuses every frame once another companion may serve the member', async () => {
    isCurrent = false;
    expect(await replyTo(frameTo(['bob']))).toContain('unavailable');
    expect(taken).toEqual([]);
  });

  test('refuses frames for a suspended member', async () => {
    known = [member('bob', { [MEMBER.state]: 'suspended' })];
    expect(await replyTo(frameTo(['bob']))).toContain('unavailable');
    expect(taken).toEqual([]);
  });

  test('notifies the addresses of the remote member that a frame came through', async () => {
    known = [bob, member('alice', { [MEMBER.local]: 'false' })];
    await replyTo(frameTo(['bob'], ['there/alice']));
    expect(heard).toEqual(['tcp://127.0.0.1/alice']);
  });
});

describe("a member's subscription on the topic bus", () => {
  const delivery = { id: '1', topic: 'news' } as BusDelivery;
  let written: Parameters<Bus['setSubscription']>[0][];
  let consumers: number;
  let deliver: (delivery: BusDelivery) => Promise<void>;
  let take: (delivery: BusDelivery) => Promise<void>;
  let subscription: TopicSubscription;

  beforeEach(() => {
    written = [];
    consumers = 0;
    take = () => Promise.resolve();
    subscription = new TopicSubscription(
      {
        bus: {
          setSubscription: async (wanted) => void written.push(wanted),
          consume: (_name, handler) => {
            consumers += 1;
            deliver = handler;
            return {
              close: async () => {
                consumers -= 1;
              },
            };
          },
        },
        clock: systemClock,
        log: silentLog,
        counters: silentCounters,
        backOff: () => 1,
      },
      `${MEMBERS}bob`,
      'l32',
      (each) => take(each),
    );
  });
  afterEach(() => subscription.close());

  const withTopics = (topics: readonly string[], state = 'active'): Entity =>
    member('bob', { [MEMBER.topics]: topics, [MEMBER.state]: state });

  test('is written to the bus when the topics have changed, and not otherwise', async () => {
    await subscription.follow(withTopics(['news']));
    await subscription.follow(withTopics(['news']));
    await subscription.follow(withTopics(['news', 'sport']));
    expect(written.map(({ patterns }) => patterns)).toEqual([['news'], ['news', 'sport']]);
    expect(consumers).toBe(1);
  });

  test('is paused while the member is suspended', async () => {
    await subscription.follow(withTopics(['news']));
    await subscription.follow(withTopics(['news'], 'suspended'));
    expect([written.at(-1)?.paused, consumers]).toEqual([true, 0]);
    await subscription.follow(withTopics(['news']));
    expect([written.at(-1)?.paused, consumers]).toEqual([false, 1]);
  });

  test('tries a delivery again while the inbox is full, without a failed attempt on the bus', async () => {
    await subscription.follow(withTopics(['news']));
    let attempts = 0;
    take = async () => {
      attempts += 1;
      if (attempts < 3) throw new CmbsError('queue_full', 'The inbox is full.');
    };
    await deliver(delivery);
    expect(attempts).toBe(3);
  });

  test('returns an invalid delivery', async () => {
    await subscription.follow(withTopics(['news']));
    take = () => Promise.reject(new CmbsError('bad_request', 'No frame.'));
    await expect(deliver(delivery)).rejects.toThrow('No frame.');
  });
});

describe('discovery', () => {
  const asking = member('alice', { [MEMBER.neighbors]: ['tcp://127.0.0.1/absent', 'tcp://127.0.0.1/alice'] });

  const discoveryOver = (connect: (address: string) => RequestConnection): Discovery =>
    new Discovery(
      {
        exchanges: { connectForRequests: connect },
        members: { find: () => Promise.resolve(undefined) },
        layers,
        store: { transact: () => Promise.reject(new Error('nothing is stored')) },
        categories: { current: () => Promise.reject(new Error('nothing is read')) },
        clock: systemClock,
        newId,
        log: silentLog,
        deployment: 'here',
        uriOf: (path) => `http://here${path}`,
      },
      { register: () => Promise.reject(new Error('nothing is registered')) },
    );

  const absent = (address: string): RequestConnection => ({
    state: 'down',
    onState: () => () => undefined,
    connectNow: () => 'down',
    request: () => Promise.reject(new PeerError('no_listener', address, 'absent', false)),
    close: () => Promise.resolve(),
  });

  test('reports a neighbour at whose socket no member listens, and does not ask the member itself', async () => {
    const report = await discoveryOver(absent).check(asking, {
      principal: ANONYMOUS,
      signal: new AbortController().signal,
    });
    expect(report).toEqual({
      found: [],
      known: [],
      failed: [{ socket: 'tcp://127.0.0.1/absent', reason: 'nobody listens there' }],
    });
  });

  test('asks no neighbour when its caller no longer waits', async () => {
    const report = await discoveryOver(() => {
      throw new Error('asked');
    }).check(asking, { principal: ANONYMOUS, signal: AbortSignal.abort() });
    expect(report.failed).toEqual([
      { socket: 'tcp://127.0.0.1/absent', reason: 'the time for discovery is over' },
    ]);
  });
});
