/** Collections and inboxes whose pages would not fit into memory. */
import { Request } from 'zeromq';
import { Deployment, MESSAGE, CMBS, unique } from './harness';
import { PATIENCE_MS } from '../patience';

/** Twenty messages of one megabyte: a page has four or five of them. */
const COUNT = 20;
const CONTENT = 'x'.repeat(1_000_000);

let deployment: Deployment;

beforeAll(async () => {
  deployment = await Deployment.start();
  for (let n = 0; n < COUNT; n += 1) await deployment.message('l1', { content: CONTENT });
});
afterAll(() => deployment.close());

const accept = (type: string): Readonly<Record<string, string>> => ({ Accept: type });

describe('a collection of large entities', () => {
  it('comes in pages that end early, each entity once', async () => {
    const seen: string[] = [];
    let target: string | undefined = '/cmbs/message/';
    for (let pages = 0; target !== undefined; pages += 1) {
      expect(pages).toBeLessThan(COUNT);
      const answer = await deployment.must(200, deployment.get(target));
      expect(answer.text.length).toBeLessThan(6_000_000);
      for (const { id } of answer.json.resources as { id: string }[]) seen.push(id);
      target = /<([^>]+)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1];
    }
    expect(seen).toHaveLength(COUNT);
    expect(new Set(seen).size).toBe(COUNT);
  });

  it('has all its locations on one page', async () => {
    const uris = await deployment.request('GET', '/cmbs/message/', undefined, accept('text/uri-list'));
    expect(uris.text.trim().split('\n')).toHaveLength(COUNT);
    const original = await deployment.request('GET', '/cmbs/message/', undefined, accept('application/occi+json'));
    expect(original.json['X-OCCI-Location']).toHaveLength(COUNT);
  });

  it('refuses a numbered page that is too large instead of truncating it', async () => {
    expect((await deployment.get('/cmbs/message/?page=1&number=20')).status).toBe(413);
    const second = await deployment.must(200, deployment.get('/cmbs/message/?page=4&number=4'));
    expect(second.json.resources).toHaveLength(4);
  });

  it('is filtered beyond the first page', async () => {
    const path = await deployment.message('l1', { content: 'small', id: 'zzz-last' });
    await deployment.change(path, { 'cmbs.message.ordering_key': 'needle' });
    const found = await deployment.must(200, deployment.get('/cmbs/message/?q=needle'));
    expect((found.json.resources as { id: string }[]).map(({ id }) => id)).toEqual(['zzz-last']);
    await deployment.must(200, deployment.request('DELETE', path));
  });
});

describe('an inbox of large messages', () => {
  it('comes in pages that end early, each entry once', async () => {
    const member = await deployment.member({ start: ['l1'] });
    const socket = new Request({ linger: 0, receiveTimeout: PATIENCE_MS });
    socket.connect(member.sockets.l1);
    for (let n = 0; n < COUNT; n += 1) {
      const message = { storable: 'true', executable: 'false', message_content: CONTENT };
      const frame = {
        kind: MESSAGE,
        mixins: [`${CMBS}l1`],
        id: unique('large'),
        attributes: { cmbs: { message } },
      };
      await socket.send(JSON.stringify(frame));
      await socket.receive();
    }
    socket.close();
    const seen: string[] = [];
    for (let pages = 0; seen.length < COUNT; pages += 1) {
      expect(pages).toBeLessThan(COUNT);
      const { text, json } = await deployment.get(`${member.path}/inbox/?number=1000&lease=60`);
      expect(text.length).toBeLessThan(6_000_000);
      for (const { id } of json.entries as { id: string }[]) seen.push(id);
    }
    expect(new Set(seen).size).toBe(COUNT);
  });
});

it('a collection of large entities is deleted', async () => {
  await deployment.must(200, deployment.request('DELETE', '/cmbs/message/'));
  expect((await deployment.get('/cmbs/message/')).json.resources ?? []).toHaveLength(0);
});
