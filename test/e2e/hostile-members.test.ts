/** Frames, descriptions and numbers of members from hostile or careless clients. */
import { localTest } from './engine';
import { Dealer, Reply, Request } from 'zeromq';
import { type Json, type JsonObject } from '@cmbs/shared';
import { Fleet, freeSocket, MEMBER, MESSAGE, CMBS, unique, type Deployment, type Member } from './harness';
import { PATIENCE_MS } from '../patience';

const fleet = new Fleet();
let deployment: Deployment;
let member: Member;

beforeAll(async () => {
  deployment = await fleet.start();
  member = await deployment.member({ start: ['l1', 'l31'] });
});
afterAll(() => fleet.close());

async function ask(frame: string | Buffer): Promise<JsonObject> {
  const socket = new Request({ linger: 0, receiveTimeout: PATIENCE_MS });
  socket.connect(member.sockets.l1);
  try {
    await socket.send(frame);
    const [reply] = await socket.receive();
    return JSON.parse(String(reply)) as JsonObject;
  } finally {
    socket.close();
  }
}

const messageWith = (content: Json, fields: JsonObject = {}): JsonObject => ({
  kind: MESSAGE,
  mixins: [`${CMBS}l1`],
  id: unique('hostile'),
  attributes: {
    cmbs: { message: { storable: 'true', executable: 'false', message_content: content, ...fields } },
  },
});

/** The description of a member, as another deployment would send it. */
const descriptionOf = (id: string, fields: JsonObject = {}): JsonObject => ({
  kind: MEMBER,
  id,
  attributes: { cmbs: { member: { l1_socket: 'tcp://127.0.0.1:9', ...fields } } },
});

const codeOf = (reply: JsonObject): Json | undefined => (reply.error as JsonObject | undefined)?.code;

const nest = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);

describe('a frame', () => {
  it.each([
    ['deep from the start', nest(400_000)],
    ['deep in the content', JSON.stringify(messageWith('@')).replace('"@"', nest(100_000))],
    ['deep in an attribute', JSON.stringify(messageWith('', { headers: '@' })).replace('"@"', nest(100_000))],
  ])('that nests JSON %s is refused without an internal error', async (_where, frame) => {
    expect(codeOf(await ask(frame))).toBe('bad_request');
  });

  it('that is not valid UTF-8 is refused, and no character is replaced', async () => {
    const message = messageWith('@@');
    const bytes = Buffer.from(JSON.stringify(message));
    bytes.write('\xff\xfe', bytes.indexOf('@@'), 'latin1');
    expect(codeOf(await ask(bytes))).toBe('bad_request');
    expect((await deployment.get(`/cmbs/message/${message.id as string}`)).status).toBe(404);
  });

  it('is refused if it would grow beyond the limit of the store', async () => {
    // JSON inside JSON: each of these characters takes four bytes in the inbox, and a document in Firestore has
    // one MiB at most.
    const message = messageWith('"'.repeat(300_000), { storable: 'false' });
    const reply = await ask(JSON.stringify(message));
    const isKept = (await deployment.inbox(member)).some((entry) => entry.message_id === message.id);
    expect([codeOf(reply), isKept]).toEqual(reply.error === undefined ? [undefined, true] : ['too_large', false]);
  });
});

describe('a description', () => {
  it('is not kept if it is too large for memory', async () => {
    const id = unique('large');
    const topics = Array.from({ length: 5000 }, (_, index) => `topic.${index}.of.a.stranger`);
    await ask(JSON.stringify(messageWith(descriptionOf(id, { topics }))));
    expect((await deployment.get(`/cmbs/member/${id}`)).status).toBe(404);
  });

  it('does not replace an entity at its path that is not a member', async () => {
    const id = unique('message');
    const path = `/cmbs/member/${id}`;
    await deployment.must(201, deployment.request('PUT', path, { kind: MESSAGE, title: 'mine' }));
    await ask(JSON.stringify(messageWith(descriptionOf(id))));
    expect((await deployment.get(path)).json).toMatchObject({ kind: MESSAGE, title: 'mine' });
  });

  // More than a thousand transactions at once keep the emulator busy for half a minute.
  localTest(
    'of each of a crowd is answered, the last five hundred are kept, and the member that is used stays',
    async () => {
      const dealer = fleet.using(new Dealer({ linger: 0, receiveTimeout: PATIENCE_MS }), (socket) =>
        socket.close(),
      );
      dealer.connect(member.sockets.l1);
      const used = unique('used');
      const usedSocket = await freeSocket();
      await ask(JSON.stringify(messageWith(descriptionOf(used, { l1_socket: usedSocket }))));
      const waiting = await deployment.send('l1', { to: usedSocket, prefer: 'respond-async' });
      expect(waiting.status).toBe(202);
      const prefix = unique('crowd');
      const strangers = 1100;
      for (let index = 0; index < strangers; index += 1) {
        await dealer.send(['', JSON.stringify(messageWith(descriptionOf(`${prefix}-${index}`)))]);
      }
      for (let index = 0; index < strangers; index += 1) await dealer.receive();
      const honest = unique('honest');
      await ask(JSON.stringify(messageWith(descriptionOf(honest))));
      const { text } = await deployment.request('GET', '/cmbs/member/?number=5000', undefined, {
        Accept: 'text/uri-list',
      });
      const paths = text.trim().split(/\s+/);
      const strange = paths.filter((path) => !path.endsWith(member.path));
      expect(strange.length).toBeLessThanOrEqual(500);
      expect(strange.length).toBeGreaterThan(400);
      const names = paths.map((path) => path.slice(path.lastIndexOf('/') + 1));
      expect(names.filter((name) => !name.startsWith(prefix))).toEqual(expect.arrayContaining([honest, used]));
      // Each member has been dropped or refused, or is there.
      const gone =
        (await deployment.metric('cmbs_members_removed')) + (await deployment.metric('cmbs_members_refused'));
      expect(gone).toBeGreaterThanOrEqual(strangers - strange.length);
    },
  );
});

describe("a peer's answer", () => {
  it('is shown in a header on one line', async () => {
    const peer = fleet.using(new Reply({ linger: 0 }), (socket) => socket.close());
    await peer.bind('tcp://127.0.0.1:*');
    const served = peer
      .receive()
      .then(() =>
        peer.send(
          JSON.stringify({ error: { code: 'unavailable', message: 'nicht jetzt,\r\nX-Evil: \u2028später' } }),
        ),
      );
    const { status, headers } = await deployment.send('l1', { to: peer.lastEndpoint ?? '', prefer: 'wait=5' });
    await served;
    expect(status).toBe(202);
    expect(headers.get('x-occi-reason')).toMatch(/^nicht jetzt, X-Evil: +sp ter/);
    expect(headers.get('x-evil')).toBeNull();
  });

  it.each([
    ['nests deep', `{"result":${nest(100_000)}}`],
    ['is large', JSON.stringify({ result: 'x'.repeat(3 * 1024 * 1024) })],
    ['is not UTF-8', Buffer.from('{"a":"\xff"}', 'latin1')],
  ])('makes the send fail with a reason if it %s', async (_what, bytes) => {
    const peer = fleet.using(new Reply({ linger: 0 }), (socket) => socket.close());
    await peer.bind('tcp://127.0.0.1:*');
    const served = peer.receive().then(() => peer.send(bytes));
    const sent = await deployment.send('l1', { to: peer.lastEndpoint ?? '' });
    await served;
    expect([sent.status, sent.headers.get('x-occi-reason')]).toEqual([
      409,
      expect.stringMatching(/^The peer's answer /),
    ]);
    expect((await deployment.delivery(sent.path)).state).toBe('failed');
  });
});

describe('more than a thousand members', () => {
  it('from one client break neither sends to some of them nor the next start', async () => {
    const crowded = await fleet.start();
    const receiver = await crowded.member({ title: 'receiver', start: ['l31'] });
    for (let batch = 0; batch < 3; batch += 1) {
      const resources = Array.from({ length: 400 }, (_, index) => ({
        kind: MEMBER,
        id: `crowd-${batch}-${index}`,
        attributes: { 'cmbs.member.local': 'false' },
      }));
      await crowded.must(201, crowded.request('POST', '/cmbs/member/', { resources }));
    }
    expect((await crowded.send('l31', { providers: ['receiver'] })).status).toBe(200);
    expect((await crowded.send('l2')).status).toBe(413);
    await crowded.down();
    await crowded.up();
    expect((await crowded.send('l31', { providers: ['receiver'] })).status).toBe(200);
    expect(await crowded.receives(receiver, 2)).toHaveLength(2);
  });
});

describe('the definition of a built-in kind', () => {
  it('is not extended by an attribute that every member would need', async () => {
    const definition = {
      kinds: [
        {
          term: 'member',
          scheme: CMBS,
          parent: 'http://schemas.ogf.org/occi/core#resource',
          location: '/cmbs/member/',
          attributes: { 'cmbs.member.tax': { type: 'string', required: true } },
        },
      ],
    };
    await deployment.must(200, deployment.request('POST', '/-/', definition));
    await deployment.member();
  });
});

describe('the state of a member', () => {
  it.each([[{}], [[]], [1], [null]])('is refused as %j', async (state) => {
    const answer = await deployment.request('POST', '/cmbs/member/', {
      kind: MEMBER,
      attributes: { 'cmbs.member.state': state },
    });
    expect(answer.status).toBe(400);
  });
});

describe('the address of a member', () => {
  it('is refused when it is too long', async () => {
    const answer = await deployment.request('POST', '/cmbs/member/', {
      kind: MEMBER,
      attributes: { 'cmbs.member.l1_socket': `tcp://${'a'.repeat(1000)}:1` },
    });
    expect(answer.status).toBe(400);
  });
});
