/**
 * Many large answers at once, and clients that ask and do not read, at a process with as much heap as a function has:
 * others are served meanwhile, and the memory of the process stays bounded.
 */
import { connect, type Socket } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChildStack } from '@cmbs/emulator/child-stack';
import { LARGE_ANSWERS_CHARS } from '@cmbs/functions/large-answers';
import { MAX_PAGE_CHARS } from '@cmbs/shared/limits';
import { bundleProgram, type BundledProgram } from '../integration/bundled-program';
import { extent } from '../extent';

/** Messages of a megabyte: a page holds four or five of them. */
const MESSAGES = 8;
/** Of all these at once the heap could hold the answers of half at most. */
const LISTINGS = extent(32, 64);
const STALLED = extent(100, 300);
const HEAP_MB = 256;
/** Large answers that have a turn at the same time. */
const AT_ONCE = LARGE_ANSWERS_CHARS / MAX_PAGE_CHARS;

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

/**
 * Asks for something small, again and again, until `over` settles; how often that was answered, and how many of the
 * large answers that `whole` counts came during one of these at most. Times would tell of the machine.
 */
async function askMeanwhile(
  over: Promise<unknown>,
  whole: () => number = () => 0,
): Promise<{ readonly answered: number; readonly most: number }> {
  const ending = new AbortController();
  const end = (): void => ending.abort();
  over.then(end, end);
  let [answered, most] = [0, 0];
  while (!ending.signal.aborted) {
    const before = whole();
    const answer = await fetch(`${child.url}/healthz`, { headers: { Connection: 'close' } });
    expect(answer.status).toBe(200);
    most = Math.max(most, whole() - before);
    answered += 1;
  }
  return { answered, most };
}

it('serves others while large listings are made, each of which is whole or told to come again', async () => {
  let whole = 0;
  const listings = Promise.all(
    Array.from({ length: LISTINGS }, async () => {
      const listing = await list();
      if (listing.status === 200) whole += 1;
      return listing;
    }),
  );
  const { most } = await askMeanwhile(listings, () => whole);
  const all = await listings;
  for (const { status, text, retryAfter } of all) {
    expect([200, 429]).toContain(status);
    if (status === 429) expect(retryAfter).toMatch(/^\d+$/);
    else expect((JSON.parse(text) as { resources: unknown[] }).resources.length).toBeGreaterThan(2);
  }
  expect(whole).toBeGreaterThanOrEqual(AT_ONCE);
  // Made in one go, all of them would come before anything that is asked later.
  expect(most).toBeLessThanOrEqual(4 * AT_ONCE);
});

it('serves others while readers that do not read hold their answers, and lets go of these', async () => {
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
    // The first reader has its turn for five seconds at least: time for many small answers on any machine.
    const { answered } = await askMeanwhile(whole);
    expect(answered).toBeGreaterThan(3);
    expect((JSON.parse((await whole).text) as { resources: unknown[] }).resources.length).toBeGreaterThan(2);
  } finally {
    for (const socket of sockets) socket.destroy();
  }
});
