/** How a program reads its member's inbox (docs/layers.md, "Inbox"). */
import { ask, frameOf } from './broker-peers';
import {
  contentOf,
  eventually,
  Fleet,
  skewedClock,
  unique,
  type Answer,
  type Deployment,
  type Entry,
  type Member,
} from './harness';
import { PATIENCE_MS } from '../patience';

/** Milliseconds that "at once" is on a busy machine: half of what the caller would wait. */
const AT_ONCE_MS = 30_000;

const fleet = new Fleet();
const clock = skewedClock();
let here: Deployment;
let member: Member;
beforeAll(async () => {
  here = await fleet.start({ clock });
});
beforeEach(async () => {
  member = await here.member({ start: ['l1'] });
});
afterAll(() => fleet.close());

async function receive(...contents: readonly (string | number)[]): Promise<void> {
  for (const message_content of contents) {
    await ask(member.sockets.l1, frameOf(unique('message'), { message_content }));
  }
}

const numbers = (count: number): readonly number[] => Array.from({ length: count }, (_, number) => number);

test('an empty inbox is an empty list', async () => {
  const answer = await here.get(`${member.path}/inbox/`);
  expect(answer.status).toBe(200);
  expect(answer.headers.get('content-type')).toBe('application/json');
  expect(answer.json).toEqual({ entries: [], leased: 0 });
});

test('entries come oldest first, page by page', async () => {
  await receive(...numbers(7));
  const pages: (readonly unknown[])[] = [];
  for (let cursor: string | undefined = '', turns = 0; cursor !== undefined && turns < 10; turns += 1) {
    const query = `lease=0&number=3${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`;
    const { json } = await here.must(200, here.get(`${member.path}/inbox/?${query}`));
    pages.push((json.entries as unknown as readonly Entry[]).map(contentOf));
    cursor = json.next as string | undefined;
  }
  expect(pages.flat()).toEqual(numbers(7));
  expect(pages[0]).toEqual([0, 1, 2]);
});

test('an entry that was read is not offered until its lease is over', async () => {
  await receive('leased');
  expect((await here.inbox(member, 'lease=30')).map(contentOf)).toEqual(['leased']);
  expect(await here.inbox(member, 'lease=30')).toEqual([]);
  clock.forward(29_000);
  expect(await here.inbox(member, 'lease=30')).toEqual([]);
  clock.forward(2000);
  expect((await here.inbox(member, 'lease=30')).map(contentOf)).toEqual(['leased']);
});

test('two programs that read at the same time share the entries', async () => {
  await receive(...numbers(20));
  const reads = await Promise.all(Array.from({ length: 5 }, () => here.inbox(member, 'lease=30&number=4')));
  const contents = reads.flat().map(contentOf);
  expect(new Set(contents).size).toBe(contents.length);
  const rest = await here.inbox(member, 'lease=30&number=100');
  expect([...contents, ...rest.map(contentOf)].toSorted()).toEqual(numbers(20).toSorted());
});

test('a deleted entry is acknowledged: it is not offered again when its lease ends', async () => {
  await receive('first', 'second');
  const [first] = await here.inbox(member, 'lease=30&number=1');
  await here.must(200, here.request('DELETE', first?.href ?? ''));
  clock.forward(31_000);
  expect((await here.inbox(member)).map(contentOf)).toEqual(['second']);
  expect((await here.request('DELETE', first?.href ?? '')).status).toBe(404);
});

test('a batch is acknowledged whole or not at all', async () => {
  await receive(...numbers(5));
  const ids = (await here.inbox(member)).map(({ id }) => id);
  const remove = (entries: readonly string[]) => here.request('DELETE', `${member.path}/inbox/`, { entries });
  expect((await remove([...ids.slice(0, 2), 'unknown'])).status).toBe(404);
  expect(await here.inbox(member)).toHaveLength(5);
  const removed = await remove(ids.slice(0, 3));
  expect(removed.status).toBe(200);
  expect(removed.json).toEqual({ acknowledged: 3 });
  expect((await here.inbox(member)).map(contentOf)).toEqual([3, 4]);
  for (const bad of ['', '{}', '{"entries":[]}', '{"entries":"all"}', 'x']) {
    expect((await here.request('DELETE', `${member.path}/inbox/`, bad)).status).toBe(400);
  }
});

test('an unknown entry and the inbox of an unknown member are 404', async () => {
  expect((await here.request('DELETE', `${member.path}/inbox/unknown`)).status).toBe(404);
  expect((await here.get('/cmbs/member/unknown/inbox/')).status).toBe(404);
});

test('HEAD looks without leasing', async () => {
  await receive('still there');
  const head = await here.request('HEAD', `${member.path}/inbox/`);
  expect(head.status).toBe(200);
  expect(head.text).toBe('');
  expect(await here.inbox(member, 'lease=30')).toHaveLength(1);
});

test.each(['number=0', 'number=1001', 'number=x', 'wait=61', 'lease=-1', 'lease=43201', 'cursor=nonsense'])(
  'refuses ?%s',
  async (query) => {
    expect((await here.get(`${member.path}/inbox/?${query}`)).status).toBe(400);
  },
);

test.each(['POST', 'PUT'])('refuses %s', async (method) => {
  const refused = await here.request(method, `${member.path}/inbox/`, {});
  expect(refused.status).toBe(405);
  expect(refused.headers.get('allow')).toContain('DELETE');
});

describe('?wait=', () => {
  test('answers as soon as a message arrives', async () => {
    const started = performance.now();
    const waiting = here.inbox(member, 'wait=60');
    await receive('news');
    expect((await waiting).map(contentOf)).toEqual(['news']);
    expect(performance.now() - started).toBeLessThan(AT_ONCE_MS);
  });

  test('answers at once when there is an entry', async () => {
    await receive('there');
    const started = performance.now();
    expect(await here.inbox(member, 'wait=60')).toHaveLength(1);
    expect(performance.now() - started).toBeLessThan(AT_ONCE_MS);
  });

  test('answers with an empty page when no message arrives', async () => {
    const started = performance.now();
    expect(await here.inbox(member, 'wait=1')).toEqual([]);
    const took = performance.now() - started;
    expect(took).toBeGreaterThan(900);
    expect(took).toBeLessThan(AT_ONCE_MS);
  });

  test('sees an entry whose lease ends meanwhile', async () => {
    await receive('again');
    await here.inbox(member, 'lease=1');
    expect((await here.inbox(member, 'wait=30')).map(contentOf)).toEqual(['again']);
  });

  test('gives an entry to one of several waiting readers', async () => {
    const waiting = Array.from({ length: 3 }, () => here.inbox(member, 'wait=5'));
    await receive('for one');
    expect((await Promise.all(waiting)).flat().map(contentOf)).toEqual(['for one']);
  });
});

/** Reads server-sent events until there are `count`. */
async function follow(path: string, count: number, query = ''): Promise<readonly Entry[]> {
  const stop = new AbortController();
  const late = setTimeout(() => stop.abort(), PATIENCE_MS);
  const response = await fetch(`${here.url}${path}/inbox/${query}`, {
    headers: { Accept: 'text/event-stream', ...here.headers },
    signal: stop.signal,
  });
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  const events: Entry[] = [];
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split(/\r\n|\n|\r/);
      text = text.slice(end + 2);
      const data = lines.filter((line) => line.startsWith('data: ')).map((line) => line.slice(6));
      if (data.length > 0) events.push(JSON.parse(data.join('\n')) as Entry);
    }
    if (events.length >= count) break;
  }
  clearTimeout(late);
  stop.abort();
  return events;
}

describe('text/event-stream', () => {
  test('sends present and arriving entries in order', async () => {
    await receive(0, 1);
    const following = follow(member.path, 5);
    await receive(2, 3, 4);
    expect((await following).map(contentOf)).toEqual([0, 1, 2, 3, 4]);
  });

  test('sends an entry again that was not acknowledged', async () => {
    await receive('unacknowledged');
    const events = await follow(member.path, 2, '?lease=1');
    expect(events.map(contentOf)).toEqual(['unacknowledged', 'unacknowledged']);
  });

  test('survives line breaks in a frame', async () => {
    const id = unique('breaker');
    const frame = frameOf(id, { message_content: 'a\r\ndata: {}\n\nevent: x' }).replace(
      '{',
      '{\r\n\r\n\n "x" :\r1,',
    );
    await ask(member.sockets.l1, frame);
    const [event] = await follow(member.path, 1);
    expect(event?.message_id).toBe(id);
    expect(event === undefined ? undefined : contentOf(event)).toBe('a\r\ndata: {}\n\nevent: x');
  });
});

test('entries of one sender keep their order, even if several members send at the same time', async () => {
  const senders = ['a', 'b', 'c', 'd'];
  await Promise.all(
    senders.map(async (sender) => {
      for (const number of numbers(25)) {
        await ask(
          member.sockets.l1,
          frameOf(unique('message'), {
            path_history: [`http://host/cmbs/member/${sender}`],
            message_content: number,
          }),
        );
      }
    }),
  );
  const entries = await here.inbox(member);
  expect(entries).toHaveLength(100);
  for (const sender of senders) {
    const own = entries.filter((entry) => entry.sender === `http://host/cmbs/member/${sender}`);
    expect(own.map(contentOf)).toEqual(numbers(25));
  }
});

test('entries are kept for 30 days', async () => {
  await receive('old');
  clock.forward(29 * 24 * 3600 * 1000);
  await receive('young');
  expect((await here.inbox(member)).map(contentOf)).toEqual(['old', 'young']);
  clock.forward(2 * 24 * 3600 * 1000);
  expect((await here.inbox(member)).map(contentOf)).toEqual(['young']);
});

describe('a message that expires while it waits in the inbox', () => {
  async function receiveForAMinute(): Promise<void> {
    const expires_at = new Date(clock.now() + 60_000).toISOString();
    await ask(member.sockets.l1, frameOf(unique('message'), { message_content: 'brief', expires_at }));
    await receive('lasting');
  }

  test('is not offered any more', async () => {
    await receiveForAMinute();
    expect((await here.inbox(member)).map(contentOf)).toEqual(['brief', 'lasting']);
    clock.forward(61_000);
    expect((await here.inbox(member)).map(contentOf)).toEqual(['lasting']);
    expect((await follow(member.path, 1)).map(contentOf)).toEqual(['lasting']);
  });

  test('is not offered again after its lease, and can be acknowledged until the lease ends', async () => {
    await receiveForAMinute();
    const [brief] = await here.inbox(member, 'lease=120&number=1');
    clock.forward(61_000);
    expect((await here.get(`${member.path}/inbox/?lease=0`)).json).toMatchObject({ leased: 0 });
    await here.must(200, here.request('DELETE', brief?.href ?? ''));
    await receiveForAMinute();
    expect((await here.inbox(member, 'lease=120')).map(contentOf)).toEqual(['lasting', 'brief', 'lasting']);
    clock.forward(121_000);
    expect((await here.inbox(member, 'lease=120')).map(contentOf)).toEqual(['lasting', 'lasting']);
  });

  test('is refused as expired when it arrives again', async () => {
    const expires_at = new Date(clock.now() + 60_000).toISOString();
    const frame = frameOf(unique('message'), { expires_at, transfer: { v: 1, send_id: 's' } });
    expect(await ask(member.sockets.l1, frame)).toHaveProperty('member_description');
    clock.forward(61_000);
    expect(await ask(member.sockets.l1, frame)).toHaveProperty('error.code', 'conflict');
    expect(await here.inbox(member)).toEqual([]);
  });
});

test.each([
  ['', ['gone']],
  [', however large', Array.from({ length: 12 }, () => 'x'.repeat(900_000))],
])('the inbox is deleted with its member%s', async (_, contents) => {
  await receive(...contents);
  await here.must(200, here.request('DELETE', member.path));
  expect((await here.get(`${member.path}/inbox/`)).status).toBe(404);
  await here.must(
    201,
    here.request('PUT', member.path, { kind: 'http://houssem.org/cmbs#member', attributes: {} }),
  );
  await eventually(
    () => here.inbox(member),
    (entries) => entries.length === 0,
    'the new member has nothing of the old one',
  );
});

describe('a lease', () => {
  test('has a token, and acknowledging with the token of an ended lease is refused', async () => {
    await receive('held');
    const [first] = await here.inbox(member, 'lease=30');
    clock.forward(31_000);
    const [second] = await here.inbox(member, 'lease=30');
    expect(second?.lease).not.toBe(first?.lease);
    const acknowledge = (lease: string | undefined): Promise<Answer> =>
      here.request('DELETE', `${member.path}/inbox/`, { entries: [{ id: second?.id ?? '', lease: lease ?? '' }] });
    const late = await acknowledge(first?.lease);
    expect([late.status, late.error]).toEqual([409, expect.stringContaining('lease')]);
    expect((await here.request('DELETE', `${second?.href ?? ''}?lease=${first?.lease ?? ''}`)).status).toBe(409);
    expect((await here.get(`${member.path}/inbox/`)).json).toMatchObject({ leased: 1 });
    expect((await acknowledge(second?.lease)).status).toBe(200);
    expect(await here.inbox(member)).toEqual([]);
  });

  test('lasts as long as promised, however the wall clock is set', async () => {
    await receive('held');
    expect(await here.inbox(member, 'lease=30')).toHaveLength(1);
    clock.setWall(3_600_000);
    expect(await here.inbox(member, 'lease=30')).toEqual([]);
    clock.setWall(-7_200_000);
    clock.forward(31_000);
    expect(await here.inbox(member, 'lease=30')).toHaveLength(1);
    clock.setWall(3_600_000);
  });

  test('does not hide the entries behind it from a page of one entry', async () => {
    await receive(...numbers(4));
    expect((await here.inbox(member, 'lease=30&number=3')).map(contentOf)).toEqual([0, 1, 2]);
    const page = (query: string): Promise<Answer> => here.get(`${member.path}/inbox/?${query}&number=1`);
    for (const query of ['lease=0', 'lease=30']) {
      const { json } = await page(query);
      expect([(json.entries as unknown as readonly Entry[]).map(contentOf), json.leased]).toEqual([[3], 3]);
    }
  });

  test('is counted when it makes an inbox look empty', async () => {
    for (const content of ['one', 'two']) await receive(content);
    expect((await here.get(`${member.path}/inbox/?lease=30`)).json).toMatchObject({ leased: 0 });
    expect((await here.get(`${member.path}/inbox/?lease=30`)).json).toEqual({ entries: [], leased: 2 });
  });
});

test('a request for the inbox of a remote member is refused, and the answer says where the inbox is', async () => {
  const remote = await here.member({ local: false });
  const refused = await here.get(`${remote.path}/inbox/`);
  expect([refused.status, refused.error]).toEqual([409, expect.stringContaining(remote.sockets.l1)]);
});

test('a stream ends when its member is deleted, and takes nothing from a later member with the same id', async () => {
  const id = unique('again');
  const first = await here.member({ id, start: ['l1'] });
  const response = await fetch(`${here.url}${first.path}/inbox/`, {
    headers: { Accept: 'text/event-stream', ...here.headers },
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  const text = response.text();
  await here.must(200, here.request('DELETE', first.path));
  const next = await here.member({ id, sockets: first.sockets, start: ['l1'] });
  await here.must(200, here.send('l1', { to: next.sockets.l1, from: member.id, content: 'for the next' }));
  expect(await text).not.toContain('for the next');
  expect(await here.inbox(next, 'lease=30')).toHaveLength(1);
});

test('the sender of a forwarded message is the member that sent it', async () => {
  const fleet = new Fleet();
  try {
    const there = await fleet.start();
    const alice = await there.member();
    const carol = await here.member({ topics: ['far.>'], start: ['l32'] });
    const dave = await here.member({ topics: ['far.>'], start: ['l32'] });
    await there.introduce(carol, { topics: ['far.>'] });
    await there.must(200, there.send('l32', { topics: ['far.away'], from: alice.id }));
    for (const one of [carol, dave]) {
      const [entry] = await here.receives(one, 1);
      expect(entry?.sender).toBe(alice.uri);
    }
  } finally {
    await fleet.close();
  }
});
