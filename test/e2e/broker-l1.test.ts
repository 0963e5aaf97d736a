/** L1: one message to one socket (docs/layers.md, "Sending"; docs/wire.md). */
import { extent } from '../extent';
import { isLocal, localTest } from './engine';
import type { JsonObject } from '@cmbs/shared';
import { ask, Cable, frameOf, HangingPeer, LossyProxy, ScriptedPeer } from './broker-peers';
import {
  CMBS,
  contentOf,
  eventually,
  Fleet,
  freeSocket,
  MESSAGE,
  SEND_WAIT_S,
  unique,
  type Deployment,
  type Member,
} from './harness';

/** Milliseconds that "at once" is on a busy machine: half of what the caller would wait. */
const AT_ONCE_MS = 30_000;

/** Milliseconds until the message expires; it is sent before that. */
const EXPIRES_MS = isLocal() ? 1500 : 5000;

const fleet = new Fleet();
let here: Deployment;
let there: Deployment;
let sender: Member;
let receiver: Member;

beforeAll(async () => {
  [here, there] = await Promise.all([fleet.start(), fleet.start()]);
  sender = await here.member({ title: 'sender' });
  receiver = await there.member({ title: 'receiver', topics: ['news.>'], start: ['l1'] });
});
afterAll(() => fleet.close());

async function deadLetters(deployment: Deployment): Promise<readonly string[]> {
  const { text } = await deployment.request('GET', '/cmbs/message/dead_letter/', undefined, {
    Accept: 'text/uri-list',
  });
  return text.split(/\s+/).map((uri) => uri.replace(deployment.url, ''));
}

const ACCEPTED = JSON.stringify({ member_description: {}, sockets_l1: [] });

describe('a message to a member that listens', () => {
  test('is answered 200 with the reply as its result', async () => {
    const sent = await here.send('l1', { to: receiver.sockets.l1 });
    expect(sent.status).toBe(200);
    expect(sent.delivery).toMatchObject({ state: 'delivered', attempts: 1 });
    expect(sent.result).toMatchObject({
      member_description: {
        id: receiver.id,
        attributes: { cmbs: { member: { local: 'false', topics: ['news.>'] } } },
      },
      sockets_l1: expect.arrayContaining([receiver.sockets.l1]) as string[],
    });
    expect((await here.get(sent.path)).text).toBe(sent.text);
  });

  test('is stored at the receiver with the sender in its path history, and is in the inbox', async () => {
    const sent = await here.send('l1', { to: receiver.sockets.l1, content: { number: 1 } });
    const copy = await there.get(sent.path);
    expect(copy.status).toBe(200);
    expect(copy.attributes).toMatchObject({
      'cmbs.message.path_history': [sender.uri],
      'cmbs.message.message_content': { number: 1 },
      'cmbs.message.delivery': { state: 'delivered' },
    });
    const entry = (await there.inbox(receiver)).find((one) => sent.path.endsWith(one.message_id));
    expect(entry).toMatchObject({
      sender: sender.uri,
      layer: 'l1',
      state: 'received',
      send_id: sent.delivery.send_id,
    });
  });

  test('is in the inbox and not stored when it is not storable', async () => {
    const sent = await here.send('l1', { to: receiver.sockets.l1, storable: false });
    expect(sent.status).toBe(200);
    await eventually(
      () => there.inbox(receiver),
      (entries) => entries.some((one) => sent.path.endsWith(one.message_id)),
      'the entry is there',
    );
    expect((await there.get(sent.path)).status).toBe(404);
  });

  test('stays unchanged when its member sends it to itself, and the inbox has the receipt', async () => {
    const own = await fleet.start();
    const member = await own.member({ start: ['l1'] });
    const sent = await own.send('l1', { to: member.sockets.l1, content: 'mine' });
    expect(sent.status).toBe(200);
    expect(sent.attributes['cmbs.message.path_history']).toEqual([]);
    expect(await own.inbox(member)).toHaveLength(1);
  });

  test.each([
    ['an empty string', ''],
    ['an empty object', {}],
  ])("goes out with the sender's description instead of %s", async (_what, content) => {
    const socket = await freeSocket();
    const peer = await ScriptedPeer.bind(socket, () => ACCEPTED);
    try {
      const sent = await here.send('l1', { to: socket, content });
      expect(sent.status).toBe(200);
      const frame = JSON.parse(peer.bodies[0] ?? '') as JsonObject;
      expect(frame).toMatchObject({
        attributes: {
          cmbs: {
            message: {
              message_content: { id: sender.id, attributes: { cmbs: { member: { local: 'false' } } } },
              path_history: [sender.uri],
            },
          },
        },
      });
      expect((await here.get(sent.path)).attributes['cmbs.message.message_content']).toEqual(content);
    } finally {
      peer.close();
    }
  });

  test('goes out with any other content unchanged', async () => {
    const socket = await freeSocket();
    const peer = await ScriptedPeer.bind(socket, () => ACCEPTED);
    try {
      for (const content of [[], 0, false, ' ', [{}]]) {
        await here.send('l1', { to: socket, content });
        const { attributes } = JSON.parse(peer.bodies.at(-1) ?? '') as JsonObject;
        expect(attributes).toMatchObject({ cmbs: { message: { message_content: content } } });
      }
    } finally {
      peer.close();
    }
  });
});

// Numbers beyond doubles, keys that JavaScript would reorder, and escapes and spaces that a parser would drop.
const FAITHFUL = String.raw`{ "b":1, "a" : 12345678901234567890123, "10":-0, "9":1.10, "2":1E400, "__proto__":{"x":1},
  "nested":[[],[[1,[2,[ ]]]],{"z":{},"y":[null,true,{"7":1,"6":2}]}], "text":"Zo\u00eb Zoë \ud83d\ude00 😀 \"\\\/\u2028", "":"" }`;

test.each([
  [
    'application/json',
    (id: string) =>
      `{"kind":"${MESSAGE}","mixins":["${CMBS}l1"],"id":"${id}","attributes":{"cmbs.message.message_content":${FAITHFUL},"cmbs.message.executable":"false","cmbs.message.l1_socket_receiver_member":"${receiver.sockets.l1}"}}`,
  ],
  [
    'application/occi+json',
    (id: string) =>
      `{"kind":"${MESSAGE}","mixins":["${CMBS}l1"],"id":"${id}","title":"t","summary":"s","actions":[],"links":[],"attributes":{"cmbs":{"message":{"cmbs_layer":"l1","sendable":"True","storable":"True","executable":"False","path_history":[],"result":"","message_content":${FAITHFUL},"l1_socket_receiver_member":"${receiver.sockets.l1}"}}}}`,
  ],
])('content in %s arrives byte for byte in the stored copy and in the inbox', async (type, body) => {
  const id = unique('faithful');
  const path = `/cmbs/message/${id}`;
  const headers = { 'Content-Type': type };
  await here.must(201, here.request('PUT', path, body(id), headers));
  await here.must(200, here.act(path, 'send_l1'));
  for (const accept of ['application/json', 'application/occi+json']) {
    expect((await there.request('GET', path, undefined, { Accept: accept })).text).toContain(FAITHFUL);
  }
  const inbox = await there.get(`${receiver.path}/inbox/?lease=0&number=1000`);
  const entry = inbox.text.slice(inbox.text.indexOf(`"message_id":"${id}"`));
  expect(entry).toContain(FAITHFUL);
});

describe('a message to an absent receiver', () => {
  test('is answered 202 at once with the reason, stays queued while it is tried, and arrives once the receiver listens', async () => {
    const late = await there.member();
    const path = await here.message('l1', { to: late.sockets.l1, content: 'late' });
    for (let time = 0; time < 3; time += 1) {
      const started = performance.now();
      const sent = await here.act(path, 'send_l1', {}, { Prefer: 'wait=60' });
      expect(performance.now() - started).toBeLessThan(AT_ONCE_MS);
      expect(sent.status).toBe(202);
      expect(sent.delivery).toMatchObject({ state: 'queued', reason: `nobody listens at ${late.sockets.l1}` });
      expect(sent.headers.get('x-occi-reason')).toContain('nobody listens');
    }
    const { send_id } = await here.delivery(path);
    await there.must(200, there.act(late.path, 'start_l1'));
    const delivery = await here.reaches(path, 'delivered');
    expect(delivery.send_id).toBe(send_id);
    expect((await there.inbox(late)).map(contentOf)).toEqual(['late']);
  });

  test('survives a restart of its deployment', async () => {
    const own = await fleet.start();
    await own.member();
    const late = await there.member();
    const sent = await own.send('l1', { to: late.sockets.l1, content: 'through a restart' });
    expect(sent.status).toBe(202);
    await own.down();
    await there.must(200, there.act(late.path, 'start_l1'));
    await own.up();
    await own.reaches(sent.path, 'delivered');
    expect((await there.inbox(late)).map(contentOf)).toEqual(['through a restart']);
  });

  test('is cancelled when it is deleted', async () => {
    const late = await there.member();
    const doomed = await here.send('l1', { to: late.sockets.l1, content: 'doomed' });
    const kept = await here.send('l1', { to: late.sockets.l1, content: 'kept' });
    await here.must(200, here.request('DELETE', doomed.path));
    await there.must(200, there.act(late.path, 'start_l1'));
    await here.reaches(kept.path, 'delivered');
    expect((await there.inbox(late)).map(contentOf)).toEqual(['kept']);
    expect(await here.metric('cmbs_messages_queued')).toBe(0);
  });

  test('is not created when the address is invalid', async () => {
    const attributes = { 'cmbs.message.l1_socket_receiver_member': 'tcp://127.0.0.1:70000' };
    const refused = await here.request('PUT', '/cmbs/message/nowhere', {
      kind: MESSAGE,
      mixins: [`${CMBS}l1`],
      attributes,
    });
    expect([refused.status, refused.error]).toEqual([400, expect.stringContaining('1 to 65535') as string]);
  });

  test('is refused when it names no socket', async () => {
    expect((await here.send('l1')).status).toBe(400);
  });

  test('does not delay others when its sender is deleted', async () => {
    const own = await fleet.start();
    const [leaving, staying] = [await own.member(), await own.member()];
    const late = await there.member();
    const orphan = await own.send('l1', { to: late.sockets.l1, content: 'orphan', from: leaving.id });
    const other = await own.send('l1', { to: late.sockets.l1, content: 'other', from: staying.id });
    await own.must(200, own.request('DELETE', leaving.path));
    await there.must(200, there.act(late.path, 'start_l1'));
    await own.reaches(other.path, 'delivered');
    expect(await own.reaches(orphan.path, 'failed')).toMatchObject({
      reason: 'The sending member is not here any more.',
    });
    expect((await there.inbox(late)).map(contentOf)).toEqual(['other']);
  });
});

describe('a peer that hangs', () => {
  let socket: string;
  let peer: HangingPeer;
  beforeAll(async () => {
    socket = await freeSocket();
    peer = await HangingPeer.bind(socket);
  });
  afterAll(() => peer.close());

  test('is waited for as long as the caller prefers, then the answer is 202', async () => {
    const started = performance.now();
    const sent = await here.send('l1', { to: socket, prefer: 'wait=3' });
    const took = performance.now() - started;
    expect(sent.status).toBe(202);
    expect(took).toBeGreaterThan(2900);
    expect(took).toBeLessThan(SEND_WAIT_S * 1000);
    expect(peer.received).toBeGreaterThan(0);
    await here.must(200, here.request('DELETE', sent.path));
  });

  test('is not waited for when the caller asks to respond at once', async () => {
    const started = performance.now();
    const sent = await here.send('l1', { to: socket, prefer: 'respond-async' });
    expect(performance.now() - started).toBeLessThan(SEND_WAIT_S * 1000);
    expect(sent.status).toBe(202);
    expect(['queued', 'sending']).toContain(sent.delivery.state);
    await here.must(200, here.request('DELETE', sent.path));
  });

  test('delays no other peer', async () => {
    const hanging = await here.send('l1', { to: socket, prefer: 'respond-async' });
    const sent = await here.send('l1', { to: receiver.sockets.l1 });
    expect(sent.status).toBe(200);
    await here.must(200, here.request('DELETE', hanging.path));
  });
});

test('a message is queued, not sending, while its delivery backs off after an attempt without an answer', async () => {
  const socket = await freeSocket();
  const refusal = JSON.stringify({ error: { code: 'unavailable', message: 'Come back later.' } });
  const peer = await ScriptedPeer.bind(socket, (_body, number) => (number > 3 ? ACCEPTED : refusal));
  try {
    const sent = await here.send('l1', { to: socket });
    expect(sent.status).toBe(202);
    expect(sent.delivery).toMatchObject({ state: 'queued', reason: 'Come back later.' });
    const between = await eventually(
      () => here.delivery(sent.path),
      ({ attempts, state }) => attempts === 2 && state !== 'sending',
      'the second attempt is recorded and over',
    );
    expect(between.state).toBe('queued');
    expect(await here.reaches(sent.path, 'delivered')).toMatchObject({ attempts: 4 });
  } finally {
    peer.close();
  }
});

test.each([
  ['text', 'no JSON at all'],
  ['a list', '[]'],
])('a peer that answers with %s makes the message a dead letter', async (_what, reply) => {
  const socket = await freeSocket();
  const peer = await ScriptedPeer.bind(socket, () => reply);
  try {
    const sent = await here.send('l1', { to: socket });
    expect(sent.status).toBe(409);
    expect((await here.delivery(sent.path)).state).toBe('failed');
  } finally {
    peer.close();
  }
});

describe('the sending member', () => {
  let several: Deployment;
  let members: readonly Member[];
  beforeAll(async () => {
    several = await fleet.start();
    members = [await several.member({ title: 'one' }), await several.member({ title: 'two' })];
  });

  test('has to be named when there are several local members', async () => {
    const sent = await several.send('l1', { to: receiver.sockets.l1 });
    expect(sent.status).toBe(400);
    expect(sent.error).toContain('"from"');
  });

  test.each(['id', 'uri', 'path'] as const)('may be named by %s', async (how) => {
    const member = members[1] as Member;
    const sent = await several.send('l1', { to: receiver.sockets.l1, from: member[how] });
    expect(sent.status).toBe(200);
    const entries = await there.inbox(receiver);
    expect(entries.at(-1)?.sender).toBe(member.uri);
  });

  test('has to be a local member', async () => {
    const sent = await several.send('l1', { to: receiver.sockets.l1, from: receiver.id });
    expect(sent.status).toBe(400);
  });

  test('is reported as missing when the deployment has no local member', async () => {
    const empty = await fleet.start();
    const sent = await empty.send('l1', { to: receiver.sockets.l1 });
    expect(sent.status).toBe(409);
  });
});

test('a message that is not sendable is refused with 409', async () => {
  const sent = await here.send('l1', { to: receiver.sockets.l1, sendable: false });
  expect(sent.status).toBe(409);
});

test('a message has the send action of its own layer only', async () => {
  const path = await here.message('l1', { to: receiver.sockets.l1 });
  for (const layer of ['l2', 'l31', 'l3.1', 'l32', 'l4']) {
    const refused = await here.act(path, `send_${layer}`);
    expect(refused.status).toBe(400);
    expect(refused.error).toContain('send_l1');
  }
  const contradiction = await here.request('POST', path, {
    kind: MESSAGE,
    attributes: { 'cmbs.message.cmbs_layer': 'l2' },
  });
  expect(contradiction.status).toBe(400);
});

describe('a message that expires', () => {
  test('is a dead letter with the reason, can be sent again, and can be purged', async () => {
    const late = await there.member();
    const sent = await here.send('l1', { to: late.sockets.l1, expiresAt: new Date(Date.now() + EXPIRES_MS) });
    expect(sent.status).toBe(202);
    const dead = await here.reaches(sent.path, 'expired');
    expect(dead.reason).toContain('nobody listens');
    expect(await deadLetters(here)).toContain(sent.path);
    expect(await here.metric('cmbs_dropped', { reason: 'expired' })).toBeGreaterThan(0);

    const tooLate = await here.act(sent.path, 'resend');
    expect(tooLate.status).toBe(409);
    expect(tooLate.error).toContain('expires_at');

    await here.change(sent.path, { 'cmbs.message.expires_at': new Date(Date.now() + 60_000).toISOString() });
    await there.must(200, there.act(late.path, 'start_l1'));
    // 202 if the socket found no peer just before the peer came, since that result is kept for a moment.
    expect([200, 202]).toContain((await here.act(sent.path, 'resend')).status);
    await here.reaches(sent.path, 'delivered');
    expect(await deadLetters(here)).not.toContain(sent.path);
    expect((await here.act(sent.path, 'purge')).status).toBe(400);
  });

  test('can be resent and purged in bulk', async () => {
    const own = await fleet.start();
    await own.member();
    const late = await there.member();
    const paths: string[] = [];
    for (let number = 0; number < 6; number += 1) {
      const sent = await own.send('l1', {
        to: late.sockets.l1,
        content: number,
        expiresAt: new Date(Date.now() + 2 * EXPIRES_MS),
      });
      paths.push(sent.path);
    }
    for (const path of paths) await own.reaches(path, 'expired');
    const alive = await own.message('l1', { to: late.sockets.l1 });
    for (const path of paths.slice(0, 3)) {
      await own.change(path, { 'cmbs.message.expires_at': new Date(Date.now() + 60_000).toISOString() });
    }
    await there.must(200, there.act(late.path, 'start_l1'));
    await own.request('POST', '/cmbs/message/dead_letter/?action=resend', {});
    for (const path of paths.slice(0, 3)) await own.reaches(path, 'delivered');
    expect(await there.receives(late, 3)).toHaveLength(3);

    const purged = await own.request('POST', '/cmbs/message/dead_letter/?action=purge', {});
    expect(purged.status).toBe(200);
    for (const path of paths.slice(3)) expect((await own.get(path)).status).toBe(404);
    for (const path of [alive, ...paths.slice(0, 3)]) expect((await own.get(path)).status).toBe(200);
  });
});

test('a full queue answers 429 with Retry-After, and takes messages again once there is room', async () => {
  const own = await fleet.start({ env: { CMBS_QUEUE_LIMIT: '3' } });
  await own.member();
  const late = await there.member();
  const queued: string[] = [];
  for (let number = 0; number < 3; number += 1) {
    const sent = await own.send('l1', { to: late.sockets.l1, content: number });
    expect(sent.status).toBe(202);
    queued.push(sent.path);
  }
  const refused = await own.send('l1', { to: late.sockets.l1 });
  expect(refused.status).toBe(429);
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await own.delivery(refused.path)).state).toBe('created');
  // Another receiver has its own queue.
  expect((await own.send('l1', { to: receiver.sockets.l1 })).status).toBe(200);
  await there.must(200, there.act(late.path, 'start_l1'));
  for (const path of queued) await own.reaches(path, 'delivered');
  expect((await own.act(refused.path, 'send_l1')).status).toBe(200);
});

describe('an Idempotency-Key', () => {
  test('makes a repeated creation one message', async () => {
    const body = { kind: MESSAGE, mixins: [`${CMBS}l1`], attributes: { 'cmbs.message.message_content': 'once' } };
    const key = { 'Idempotency-Key': unique('key') };
    const first = await here.request('POST', '/cmbs/message/', body, key);
    const second = await here.request('POST', '/cmbs/message/', body, key);
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(second.headers.get('location')).toBe(first.headers.get('location'));
    const other = await here.request('POST', '/cmbs/message/', { ...body, mixins: [`${CMBS}l2`] }, key);
    expect(other.status).toBe(422);
  });

  test('makes repeated calls one send; without a key each call is a send', async () => {
    const target = await there.member({ start: ['l1'] });
    const path = await here.message('l1', { to: target.sockets.l1 });
    const key = { 'Idempotency-Key': unique('key') };
    const first = await here.must(200, here.act(path, 'send_l1', {}, key));
    const second = await here.must(200, here.act(path, 'send_l1', {}, key));
    expect(second.delivery.send_id).toBe(first.delivery.send_id);
    expect(await there.inbox(target)).toHaveLength(1);
    const third = await here.must(200, here.act(path, 'send_l1'));
    expect(third.delivery.send_id).not.toBe(first.delivery.send_id);
    expect(await there.inbox(target)).toHaveLength(2);
  });

  test('gives concurrent calls the same send', async () => {
    const target = await there.member({ start: ['l1'] });
    const path = await here.message('l1', { to: target.sockets.l1 });
    const key = { 'Idempotency-Key': unique('key') };
    const answers = await Promise.all(Array.from({ length: 8 }, () => here.act(path, 'send_l1', {}, key)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(await there.inbox(target)).toHaveLength(1);
  });
});

test('messages that wait for a peer arrive in the order in which they were sent', async () => {
  const count = extent(60, 200);
  const late = await there.member();
  const paths = await Promise.all(
    Array.from({ length: count }, (_, number) => here.message('l1', { to: late.sockets.l1, content: number })),
  );
  for (const path of paths) await here.must(202, here.act(path, 'send_l1', {}, { Prefer: 'respond-async' }));
  await there.must(200, there.act(late.path, 'start_l1'));
  // On the emulators, each read of so many entries takes a while.
  const entries = await there.receives(late, count, 120_000);
  expect(entries.map(contentOf)).toEqual(Array.from({ length: count }, (_, number) => number));
}, 240_000);

test('messages keep their order and each arrives once, even if the connection breaks again and again', async () => {
  const target = await there.member({ start: ['l1'] });
  const front = await freeSocket();
  const cable = await Cable.lay(front, target.sockets.l1);
  try {
    const count = extent(60, 120);
    const paths: string[] = [];
    for (let number = 0; number < count; number += 1) {
      const sent = await here.send('l1', { to: front, content: number, prefer: 'respond-async' });
      expect(sent.status).toBe(202);
      paths.push(sent.path);
      if (number % 20 === 10) cable.cut();
    }
    // One after the other: reading all of them at once would take the longest.
    for (const path of paths) await here.reaches(path, 'delivered', 120_000);
    const contents = (await there.inbox(target)).map(contentOf);
    expect(contents).toEqual(Array.from({ length: count }, (_, number) => number));
  } finally {
    await cable.close();
  }
}, 240_000);

test('a message whose reply was lost is sent again with its send id, and is received and executed once', async () => {
  const target = await there.member({ start: ['l1'] });
  const front = await freeSocket();
  const proxy = await LossyProxy.between(front, target.sockets.l1, 1);
  try {
    const before = await there.metric('cmbs_calls');
    const sent = await here.send('l1', {
      to: front,
      executable: true,
      content: { method: 'echo.echo', params: ['once'], id: 7 },
      prefer: 'wait=20',
    });
    expect(sent.status).toBe(200);
    expect(sent.result.result).toEqual({ id: 7, result: ['once'] });
    expect(proxy.requests).toBe(2);
    expect(await there.inbox(target)).toHaveLength(1);
    expect((await there.metric('cmbs_calls')) - before).toBe(1);
    expect(await here.metric('cmbs_retries', { layer: 'l1' })).toBeGreaterThan(0);
  } finally {
    proxy.close();
  }
});

describe('a message from another program', () => {
  let target: Member;
  beforeEach(async () => {
    target = await there.member({ start: ['l1'] });
  });

  test('is stored and answered as the original did', async () => {
    const id = unique('outside');
    const reply = await ask(target.sockets.l1, frameOf(id));
    expect(reply).toMatchObject({
      member_description: {
        id: target.id,
        kind: `${CMBS}member`,
        attributes: { cmbs: { member: { local: 'false' } } },
      },
      sockets_l1: expect.arrayContaining([target.sockets.l1]) as string[],
    });
    expect((await there.get(`/cmbs/message/${id}`)).attributes['cmbs.message.message_content']).toBe(
      'from outside',
    );
  });

  test('is received each time without a send id, and once for each send id', async () => {
    const id = unique('outside');
    for (let time = 0; time < 3; time += 1) await ask(target.sockets.l1, frameOf(id));
    expect(await there.inbox(target)).toHaveLength(3);
    for (const send_id of ['s1', 's1', 's2', 's1']) {
      await ask(target.sockets.l1, frameOf(id, { transfer: { v: 1, send_id } }));
    }
    expect(await there.inbox(target)).toHaveLength(5);
  });

  test('is recognised again after its entry was acknowledged', async () => {
    const frame = frameOf(unique('outside'), { transfer: { v: 1, send_id: 's' } });
    await ask(target.sockets.l1, frame);
    const [entry] = await there.inbox(target);
    await there.must(200, there.request('DELETE', entry?.href ?? ''));
    await ask(target.sockets.l1, frame);
    expect(await there.inbox(target)).toEqual([]);
  });

  test.each([
    ['bytes that are not JSON', Buffer.from([0xff, 0xfe, 0x00, 0x7b])],
    ['nothing', ''],
    ['JSON that is no message', '{"kind":"http://houssem.org/cmbs#member","id":"x"}'],
    ['a list', '[]'],
    ['a number', '7'],
    ['a message without attributes', `{"kind":"${MESSAGE}","id":"x"}`],
    ['a message whose id is a path', frameOf('../member/x')],
    ['a message with a slash in its id', frameOf('a/b')],
    ['a path history that is no list', frameOf('x', { path_history: { a: 1 } })],
    ['an expiry that is no text', frameOf('x', { expires_at: 5 })],
    ['a transfer that is no object', frameOf('x', { transfer: 'v1' })],
    ['a frame above the limit', frameOf('x', { message_content: 'x'.repeat(1024 * 1024) })],
  ])('is refused with one error reply and nothing stored: %s', async (_what, frame) => {
    const messages = (await there.get('/cmbs/message/')).text;
    const reply = await ask(target.sockets.l1, frame);
    expect(reply).toEqual({
      error: { code: expect.any(String) as string, message: expect.stringMatching(/^[A-Z"].*\.$/s) as string },
    });
    expect(await there.inbox(target)).toEqual([]);
    expect((await there.get('/cmbs/message/')).text).toBe(messages);
    expect(await ask(target.sockets.l1, frameOf(unique('after')))).toHaveProperty('member_description');
  });

  // Firestore has its own limit.
  localTest('is stored when it is just below the limit', async () => {
    const id = unique('large');
    const room = 1024 * 1024 - frameOf(id, { message_content: '' }).length;
    await ask(target.sockets.l1, frameOf(id, { message_content: 'x'.repeat(room) }));
    expect((await there.get(`/cmbs/message/${id}`)).status).toBe(200);
  });

  test('never overwrites an existing message', async () => {
    const path = await there.message('l1', { content: 'mine' });
    await ask(target.sockets.l1, frameOf(path.slice('/cmbs/message/'.length)));
    expect((await there.get(path)).attributes['cmbs.message.message_content']).toBe('mine');
  });

  test('is refused when it has expired', async () => {
    const reply = await ask(target.sockets.l1, frameOf(unique('old'), { expires_at: '2001-01-01T00:00:00Z' }));
    expect(reply).toHaveProperty('error.code', 'conflict');
    expect(await there.inbox(target)).toEqual([]);
  });

  test('may describe a member, which is stored as remote if its id is valid', async () => {
    const describing = (id: string): string =>
      frameOf(unique('description'), {
        message_content: {
          kind: `${CMBS}member`,
          id,
          attributes: { cmbs: { member: { local: 'true', l1_socket: 'tcp://127.0.0.1:9' } } },
        },
      });
    const id = unique('stranger');
    await ask(target.sockets.l1, describing(id));
    expect((await there.get(`/cmbs/member/${id}`)).attributes).toMatchObject({
      'cmbs.member.local': 'false',
      'cmbs.member.l1_socket': 'tcp://127.0.0.1:9',
    });
    const listed = async (): Promise<readonly string[]> =>
      ((await there.get('/cmbs/member/')).json.resources as readonly { readonly id: string }[]).map(
        ({ id }) => id,
      );
    const members = await listed();
    for (const bad of [`${target.id}/inbox/`, '..', 'a/b', 'ä b', '__x__']) {
      await ask(target.sockets.l1, describing(bad));
    }
    expect(await listed()).toEqual(members);
  });

  test('cannot replace a local member', async () => {
    const description = {
      kind: `${CMBS}member`,
      id: target.id,
      attributes: { cmbs: { member: { local: 'false', l1_socket: 'tcp://127.0.0.1:9' } } },
    };
    await ask(target.sockets.l1, frameOf(unique('description'), { message_content: description }));
    expect((await there.get(target.path)).attributes).toMatchObject({
      'cmbs.member.local': 'true',
      'cmbs.member.l1_socket': target.sockets.l1,
    });
  });
});

test('a suspended member takes no message, and gets the waiting messages once it is active again', async () => {
  const target = await there.member({ start: ['l1'] });
  await there.change(target.path, { 'cmbs.member.state': 'suspended' });
  const paths: string[] = [];
  for (let number = 0; number < 5; number += 1) {
    const sent = await here.send('l1', { to: target.sockets.l1, content: number });
    expect(sent.status).toBe(202);
    expect(sent.delivery.reason).toContain('suspended');
    paths.push(sent.path);
  }
  expect(await there.inbox(target)).toEqual([]);
  await there.change(target.path, { 'cmbs.member.state': 'active' });
  for (const path of paths) await here.reaches(path, 'delivered');
  expect((await there.inbox(target)).map(contentOf)).toEqual([0, 1, 2, 3, 4]);
});
