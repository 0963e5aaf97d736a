/** A public URL with a path: every URL in an answer works, and requests may contain every such URL. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ANY_PORT } from '@cmbs/emulator/ports';
import { startStack, type Stack } from '@cmbs/emulator/stack';
import { silentLog, type JsonObject } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import { PATIENCE_MS } from '../patience';
import { freePort } from './free-port';

const INFRA = 'http://schemas.ogf.org/occi/infrastructure#';
const CMBS = 'http://houssem.org/cmbs#';
const NESTED = 'application/occi+json';

describe.each(['/broker', '/cmbs', '/a%20b/c'])('under %s', (prefix) => {
  let directory: string;
  let stack: Stack;
  let origin: string;
  let base: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'cmbs-public-url-'));
    const port = String(await freePort());
    origin = `http://127.0.0.1:${port}`;
    base = origin + prefix;
    const settings = {
      PORT: port,
      CMBS_DATA_DIR: directory,
      CMBS_EXTENSIONS: 'infrastructure',
      CMBS_PUBLIC_URL: base,
    };
    stack = await startStack({ config: readConfig({ ...ANY_PORT, ...settings }), log: silentLog });
  });
  afterAll(async () => {
    await stack.close();
    await rm(directory, { recursive: true });
  });

  async function ask(
    method: string,
    url: string,
    body?: JsonObject | string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<{ readonly status: number; readonly headers: Headers; readonly text: string }> {
    const isText = typeof body === 'string';
    const answer = await fetch(url, {
      method,
      redirect: 'manual',
      signal: AbortSignal.timeout(PATIENCE_MS),
      headers: {
        ...(body === undefined ? {} : { 'Content-Type': isText ? 'text/plain' : 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: isText ? body : JSON.stringify(body) }),
    });
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  }

  async function make(collection: string, entity: JsonObject): Promise<string> {
    const made = await ask('POST', `${base}/${collection}/`, entity);
    const location = made.headers.get('location') ?? '';
    expect([made.status, location.startsWith(`${base}/${collection}/`)]).toEqual([201, true]);
    return location;
  }

  test('the URLs of links, actions, lists and pages work', async () => {
    const [compute, network] = [
      await make('compute', { kind: `${INFRA}compute` }),
      await make('network', { kind: `${INFRA}network` }),
    ];
    const link = await make('networkinterface', {
      kind: `${INFRA}networkinterface`,
      source: { location: compute },
      target: { location: network },
    });
    expect((await ask('GET', link)).status).toBe(200);
    const plain = (await ask('GET', compute)).text;
    const named = [...plain.matchAll(/<([^>]+)>|self="([^"]+)"/g)].map(([, one, other]) => one ?? other ?? '');
    expect(named).toEqual(expect.arrayContaining([network, link, `${compute}?action=start`]));
    for (const url of named.filter((one) => !one.includes('?')))
      expect([url, (await ask('GET', url)).status]).toEqual([url, 200]);
    const nested = JSON.parse(
      (await ask('GET', compute, undefined, { Accept: `${NESTED};profile=nested` })).text,
    ) as {
      readonly actions: readonly { readonly href: string }[];
    };
    expect((await ask('POST', nested.actions[0]?.href ?? '', {})).status).toBe(200);
    for (const url of (await ask('GET', `${base}/`, undefined, { Accept: 'text/uri-list' })).text
      .trim()
      .split('\n')) {
      expect([url, (await ask('GET', url)).status]).toEqual([url, 200]);
    }
    await make('compute', { kind: `${INFRA}compute` });
    const page = await ask('GET', `${base}/compute/?number=1`);
    const next = /<([^>]+)>; rel="next"/.exec(page.headers.get('link') ?? '')?.[1] ?? '';
    expect((await ask('GET', new URL(next, `${base}/compute/`).href)).status).toBe(200);
    const bare = await ask('GET', `${base}/compute`);
    expect([bare.status, bare.headers.get('location')]).toEqual([308, `${base}/compute/`]);
  });

  test('URLs of this deployment name entities in requests, and URLs of others do not', async () => {
    const [compute, network] = [
      await make('compute', { kind: `${INFRA}compute` }),
      await make('network', { kind: `${INFRA}network` }),
    ];
    const mixin = 'Category: tagged; scheme="http://example.com/t#"; class="mixin"; location="/tagged/"';
    expect([200, 409]).toContain((await ask('POST', `${base}/-/`, mixin)).status);
    expect((await ask('POST', `${base}/tagged/`, `X-OCCI-Location: ${compute}`)).status).toBe(200);
    expect((await ask('GET', `${base}/tagged/`)).text).toContain(`X-OCCI-Location: ${compute}\n`);
    const elsewhere = network.replace(base, `${origin}/elsewhere`);
    expect((await ask('POST', `${base}/tagged/`, `X-OCCI-Location: ${elsewhere}`)).status).toBe(400);
    const link = await make('networkinterface', {
      kind: `${INFRA}networkinterface`,
      source: { location: compute },
      target: { location: elsewhere },
    });
    expect(JSON.parse((await ask('GET', link, undefined, { Accept: 'application/json' })).text)).toMatchObject({
      target: { location: elsewhere },
    });
    // A location without a host is a path of the deployment.
    expect((await ask('POST', `${base}/tagged/`, `X-OCCI-Location: ${network.slice(base.length)}`)).status).toBe(
      200,
    );
  });

  test('URLs of members have the prefix', async () => {
    const member = { kind: `${CMBS}member`, id: 'bob', attributes: { 'cmbs.member.start': ['l1'] } };
    const bob = await make('cmbs/member', member);
    expect(bob).toBe(`${base}/cmbs/member/bob`);
    const { attributes } = JSON.parse((await ask('GET', bob, undefined, { Accept: 'application/json' })).text) as {
      readonly attributes: Readonly<Record<string, string>>;
    };
    const sent = await ask('POST', `${base}/cmbs/message/?send&from=${encodeURIComponent(bob)}`, {
      kind: `${CMBS}message`,
      mixins: [`${CMBS}l1`],
      attributes: {
        'cmbs.message.message_content': 'x',
        'cmbs.message.l1_socket_receiver_member': attributes['cmbs.member.l1_socket'] ?? '',
      },
    });
    expect(sent.status).toBe(200);
    const { entries } = JSON.parse((await ask('GET', `${bob}/inbox/`)).text) as {
      readonly entries: readonly { readonly href: string }[];
    };
    expect((await ask('DELETE', entries[0]?.href ?? '')).status).toBe(200);
    const other = encodeURIComponent(bob.replace(base, `${origin}/elsewhere`));
    expect(
      (await ask('POST', `${base}/cmbs/message/?send&from=${other}`, { kind: `${CMBS}message` })).status,
    ).toBe(400);
  });

  test('a front end that removes the prefix gets the same answers', async () => {
    const kept = await ask('GET', `${base}/cmbs/member/bob`);
    const taken = await ask('GET', `${origin}/cmbs/member/bob`);
    expect([taken.status, taken.text]).toEqual([200, kept.text]);
    expect((await ask('GET', `${origin}/compute/`)).text).toBe((await ask('GET', `${base}/compute/`)).text);
  });
});
