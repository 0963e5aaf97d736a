/**
 * Many large answers at once, and clients that ask and do not read, at a process with as much heap as a function has:
 * others are served meanwhile, and the memory of the process stays bounded.
 */
import { connect, type Socket } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChildStack } from '@cmbs/emulator/child-stack';
import { LARGE_ANSWERS_CHARS, MAX_PAGE_CHARS } from '@cmbs/shared/limits';
import { bundleProgram, type BundledProgram } from '../integration/bundled-program';

jest.setTimeout(180_000);

/** Messages of a megabyte: a page holds four or five of them. */
const MESSAGES = 8;
const LISTINGS = 64;
const STALLED = 300;
const HEAP_MB = 256;

let bundle: BundledProgram;
let directory: string;
let child: ChildStack;

beforeAll(async () => {
  bundle = bundleProgram('emulator/main.ts');
  directory = await mkdtemp(join(tmpdir(), 'cmbs-readers-'));
  const settings = {
    NODE_OPTIONS: `--max-old-space-size=${HEAP_MB}`,
    CMBS_MAX_BODY_BYTES: '2000000',
    CMBS_LOG: 'warn',
  };
  child = ChildStack.launch({ program: bundle.path, directory, settings });
  await child.ready();
  for (let n = 0; n < MESSAGES; n += 1) {
    const attributes = { 'cmbs.message.message_content': `é${'x'.repeat(1_000_000)}` };
    const body = JSON.stringify({ kind: 'http://houssem.org/cmbs#message', attributes });
    const headers = { 'Content-Type': 'application/json' };
    const made = await fetch(`${child.url}/cmbs/message/`, { method: 'POST', headers, body });
    expect(made.status).toBe(201);
  }
});
afterAll(async () => {
  await child.kill();
  await rm(directory, { recursive: true, force: true });
  bundle.remove();
});

interface Listing {
  readonly status: number;
  readonly text: string;
  readonly retryAfter: string | null;
}

async function list(): Promise<Listing> {
  const headers = { Accept: 'application/json' };
  const answer = await fetch(`${child.url}/cmbs/message/`, { headers, signal: AbortSignal.timeout(120_000) });
  return { status: answer.status, text: await answer.text(), retryAfter: answer.headers.get('retry-after') };
}

/** Asks for something small, again and again, until `over` settles; the longest that it took, in milliseconds. */
async function longestMeanwhile(over: Promise<unknown>): Promise<{ longest: number; answered: number }> {
  const ending = new AbortController();
  const end = (): void => ending.abort();
  over.then(end, end);
  let [longest, answered] = [0, 0];
  while (!ending.signal.aborted) {
    const began = performance.now();
    const answer = await fetch(`${child.url}/healthz`, { headers: { Connection: 'close' } });
    expect(answer.status).toBe(200);
    longest = Math.max(longest, performance.now() - began);
    answered += 1;
  }
  return { longest, answered };
}

it('serves others while large listings are made, each of which is whole or told to come again', async () => {
  const began = performance.now();
  const listings = Promise.all(Array.from({ length: LISTINGS }, list));
  const { longest, answered } = await longestMeanwhile(listings);
  const total = performance.now() - began;
  const all = await listings;
  for (const { status, text, retryAfter } of all) {
    expect([200, 429]).toContain(status);
    if (status === 429) expect(retryAfter).toMatch(/^\d+$/);
    else expect((JSON.parse(text) as { resources: unknown[] }).resources.length).toBeGreaterThan(2);
  }
  expect(all.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(
    LARGE_ANSWERS_CHARS / MAX_PAGE_CHARS,
  );
  // Made in one go, they would hold up all later requests until the last listing is done.
  expect(answered).toBeGreaterThan(3);
  expect(longest).toBeLessThan(total / 3);
});

it('serves others while readers that do not read hold their answers, and lets go of these', async () => {
  const began = performance.now();
  const { hostname, port } = new URL(child.url);
  const sockets: Socket[] = [];
  const closed = Array.from({ length: STALLED }, async () => {
    const socket = connect(Number(port), hostname);
    sockets.push(socket);
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    socket.pause().write('GET /cmbs/message/ HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n');
  });
  await Promise.all(closed);
  try {
    const whole = (async () => {
      for (;;) {
        const listing = await list();
        if (listing.status === 200) return listing;
        // As the answer says: many are under way.
        expect([listing.status, listing.retryAfter]).toEqual([429, expect.stringMatching(/^\d+$/)]);
      }
    })();
    const { longest } = await longestMeanwhile(whole);
    expect(longest).toBeLessThan((performance.now() - began) / 3);
    expect((JSON.parse((await whole).text) as { resources: unknown[] }).resources.length).toBeGreaterThan(2);
  } finally {
    for (const socket of sockets) socket.destroy();
  }
});
