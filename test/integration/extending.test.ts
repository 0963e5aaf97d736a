/** The examples of docs/extending.md in a complete stack. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, type Json, type JsonObject } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import { startStack, type Stack } from '@cmbs/emulator/stack';
import { tickets } from '../../examples/extending/tickets';
import { weather } from '../../examples/extending/weather';
import { readDocument, ROOT } from '../documents/markdown';
import { freePort } from './free-port';

const directory = mkdtempSync(join(tmpdir(), 'cmbs-extending-'));
let stack: Stack;

beforeAll(async () => {
  const env = { PORT: '0', CMBS_DATA_DIR: directory, CMBS_LOG: 'silent', CMBS_PORT_RANGE: '1-65535' };
  stack = await startStack({
    config: readConfig(env),
    log: silentLog,
    services: [weather],
    extensions: (options) => [tickets(options)],
  });
});

afterAll(async () => {
  await stack.close();
  rmSync(directory, { recursive: true, force: true });
});

async function ask(method: string, path: string, body?: Json): Promise<{ status: number; json: JsonObject }> {
  const answer = await fetch(stack.url + path, {
    method,
    headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: answer.status, json: (await answer.json()) as JsonObject };
}

describe('the example of an extension', () => {
  const KIND = 'http://example.com/occi#ticket';
  const put = (id: string, priority: number): Promise<{ status: number; json: JsonObject }> =>
    ask('PUT', `/ticket/${id}`, { kind: KIND, attributes: { 'com.example.ticket.priority': priority } });

  it('adds a kind whose provider checks written attributes', async () => {
    expect(await put('one', 2)).toMatchObject({
      status: 201,
      json: { attributes: { 'com.example.ticket.state': 'open' } },
    });
    expect(await put('two', 6)).toMatchObject({ status: 400, json: { error: { code: 'bad_attribute' } } });
  });

  it('adds an action that is offered while it applies', async () => {
    await put('three', 1);
    const close = 'http://example.com/occi#close';
    expect((await ask('GET', '/ticket/three')).json).toMatchObject({ actions: [close] });
    expect(await ask('POST', '/ticket/three?action=close', {})).toMatchObject({
      status: 200,
      json: { attributes: { 'com.example.ticket.state': 'closed' } },
    });
    expect((await ask('GET', '/ticket/three')).json).not.toMatchObject({ actions: [close] });
    expect((await ask('POST', '/ticket/three?action=close', {})).status).toBe(409);
  });
});

describe('the example of a service module', () => {
  it('is called by a message', async () => {
    const address = `tcp://127.0.0.1:${await freePort()}`;
    await ask('PUT', '/cmbs/member/one', {
      kind: 'http://houssem.org/cmbs#member',
      attributes: { 'cmbs.member.l1_socket': address, 'cmbs.member.start': ['l1'] },
    });
    const call = async (params: readonly Json[]): Promise<JsonObject> =>
      (
        await ask('POST', '/cmbs/message/?send', {
          kind: 'http://houssem.org/cmbs#message',
          mixins: ['http://houssem.org/cmbs#l1'],
          attributes: {
            'cmbs.message.l1_socket_receiver_member': address,
            'cmbs.message.message_content': { method: 'weather.forecast', params, id: 1 },
          },
        })
      ).json;
    expect(await call(['tokyo'])).toMatchObject({
      attributes: { 'cmbs.message.result': { result: { id: 1, result: 'sunny' } } },
    });
    expect(await call(['atlantis'])).toMatchObject({
      attributes: {
        'cmbs.message.result': { result: { error: { message: 'Name a city that has a forecast.' } } },
      },
    });
  });
});

describe('docs/extending.md', () => {
  /** Code without indentation and line breaks, which differ between a file and its excerpt. */
  const normal = (text: string): string => text.replaceAll(/\s+/g, '').replaceAll(',)', ')').replaceAll(';', '');

  it('quotes code that exists in the files that it names', () => {
    const files = [
      ...readdirSync(join(ROOT, 'examples/extending')).map((name) => join('examples/extending', name)),
      'test/contract/memory-store.test.ts',
      'test/contract/exchange.test.ts',
    ].map((path) => normal(readFileSync(join(ROOT, path), 'utf8')));
    const shown = readDocument('docs/extending.md').blocks.filter(({ language }) => language === 'ts');
    expect(shown.length).toBeGreaterThan(3);
    expect(shown.filter(({ text }) => !files.some((file) => file.includes(normal(text))))).toEqual([]);
  });
});
