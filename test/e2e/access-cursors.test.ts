/** Pages of a closed deployment: the link to the next page tells nothing of entities that the caller may not see. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JsonObject } from '@cmbs/shared';
import { idInCursor } from '@cmbs/shared/store';
import { SealedCursors } from '../../shared/access/sealed-cursors';
import { type Answer, Deployment, MESSAGE } from './harness';

const ACCESS = 'http://houssem.org/cmbs/access#';
const HIDDEN = 'hidden-from-bob';
const directory = mkdtempSync(join(tmpdir(), 'cmbs-cursors-'));
const passwordFile = join(directory, 'password');
writeFileSync(passwordFile, 'password of root');

let closed: Deployment;
let open: Deployment;
beforeAll(async () => {
  const CMBS_ADMIN_PASSWORD_FILE = passwordFile;
  closed = await Deployment.start({
    env: { CMBS_IDENTITIES: 'basic', CMBS_ADMINISTRATORS: 'root', CMBS_ADMIN_PASSWORD_FILE },
  });
  open = await Deployment.start();
});
afterAll(async () => {
  await closed.close();
  await open.close();
  rmSync(directory, { recursive: true });
});

function ask(name: string, method: string, path: string, body?: JsonObject): Promise<Answer> {
  const credentials = Buffer.from(`${name}:password of ${name}`).toString('base64');
  return closed.request(method, path, body, { Authorization: `Basic ${credentials}` });
}

async function create(path: string, kind: string, attributes: JsonObject = {}): Promise<void> {
  expect((await ask('root', 'PUT', path, { kind, attributes })).status).toBe(201);
}

async function rule(
  name: string,
  target: string,
  more: Readonly<Record<string, readonly string[]>>,
): Promise<void> {
  const lists = Object.entries(more).map(([list, values]) => [`cmbs.access.rule.${list}`, values]);
  const attributes = { 'cmbs.access.rule.target': target, ...Object.fromEntries(lists) } as JsonObject;
  await create(`/cmbs/access/rule/${name}`, `${ACCESS}rule`, attributes);
}

const cursorIn = ({ headers }: Answer): string => {
  const [, url = ''] = /<([^>]+)>; *rel="next"/.exec(headers.get('link') ?? '') ?? [];
  return new URL(url, closed.url).searchParams.get('cursor') ?? '';
};

const idsIn = ({ json }: Answer): readonly unknown[] => (json.resources as JsonObject[]).map(({ id }) => id);

/** The text, and everything that base64 in the text may stand for. */
function decodedFrom(text: string): string {
  const words = text.match(/[A-Za-z0-9+/_-]{8,}/g) ?? [];
  const bytes = words.flatMap((word) => [0, 1, 2, 3].map((at) => Buffer.from(word.slice(at), 'base64')));
  return [text, decodeURIComponent(text), ...bytes.map((one) => one.toString('latin1'))].join('\n');
}

describe('a page of a closed deployment', () => {
  it('that ends after a hidden entity does not name the entity, and is followed by the next page after a restart', async () => {
    await create('/cmbs/access/user/bob', `${ACCESS}user`, { 'cmbs.access.user.password': 'password of bob' });
    await rule('all', 'entity:/cmbs/message/', { allow: ['user:bob'], operations: ['entity.read'] });
    for (const id of ['a', 'z']) await create(`/cmbs/message/${id}`, MESSAGE);
    // Together larger than a page, so the page ends among them.
    const content = 'x'.repeat(300_000);
    for (let n = 10; n < 30; n += 1) {
      const path = `/cmbs/message/${HIDDEN}-${n}`;
      await rule(`but-${n}`, `entity:${path}`, { deny: ['user:bob'] });
      await create(path, MESSAGE, { 'cmbs.message.message_content': content });
    }

    const page = await ask('bob', 'GET', '/cmbs/message/?number=100');
    const cursor = cursorIn(page);
    expect([idsIn(page), cursor === '']).toEqual([['a'], false]);
    const shown: string[] = [page.text];
    page.headers.forEach((value, name) => shown.push(`${name}: ${value}`));
    expect(decodedFrom(shown.join('\n'))).not.toContain('hidden');

    await closed.down();
    await closed.inStore(async (store) => {
      expect(idInCursor(await new SealedCursors(store).open(cursor))).toMatch(`/cmbs/message/${HIDDEN}-`);
    });
    await closed.up();
    const next = await ask('bob', 'GET', `/cmbs/message/?number=100&cursor=${encodeURIComponent(cursor)}`);
    expect([idsIn(next), cursorIn(next)]).toEqual([['z'], '']);
  });

  it('refuses a cursor that the deployment did not give out, with one sentence', async () => {
    const readable = Buffer.from(JSON.stringify(['i', '/cmbs/message/a'])).toString('base64url');
    for (const cursor of [readable, 'nonsense', '']) {
      const answer = await ask('root', 'GET', `/cmbs/message/?cursor=${cursor}`);
      expect([answer.status, (answer.json.error as JsonObject).message]).toEqual([
        400,
        'The cursor is not one that this deployment gave out; start again without a cursor.',
      ]);
    }
  });
});

describe('a page of an open deployment', () => {
  it('has a cursor that can be read, as before', async () => {
    for (const id of ['one', 'two']) {
      expect((await open.request('PUT', `/cmbs/message/${id}`, { kind: MESSAGE })).status).toBe(201);
    }
    const cursor = cursorIn(await open.request('GET', '/cmbs/message/?number=1'));
    expect(idInCursor(cursor)).toBe('/cmbs/message/one');
  });
});
