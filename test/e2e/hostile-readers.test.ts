/**
 * Many large answers at once, and clients that do not read them, in a process with the heap of a function. Other
 * clients are served meanwhile, and the memory of the process stays bounded.
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

/** Messages of one megabyte: a page has four or five of them. */
const MESSAGES = 8;
/** The heap could hold at most half of the answers to all of these. */
const LISTINGS = extent(24, 64);
const STALLED = extent(20, 300);
const HEAP_MB = 256;
/** Milliseconds between small requests: many fit into one large answer, and the listings get the processor. */
const ASK_AGAIN_MS = 5;
/** Large answers that are made at the same time. */
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
 * Sends small requests until `over` settles. Returns how many were answered, and the largest number of large
 * answers (counted by `whole`) during one of them. Times would depend on the machine.
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
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
  return { answered, most };
}

it('other requests are served while large listings are made, and each listing is whole or refused for a retry', async () => {
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
  // If all listings were made in one step, all of them would come before any later request.
  expect(most).toBeLessThanOrEqual(4 * AT_ONCE);
});

it('other requests are served while stalled readers hold their answers, and these answers are released', async () => {
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
        // The answer says that too many listings are in progress.
        expect([listing.status, listing.retryAfter]).toEqual([429, expect.stringMatching(/^\d+$/)]);
      }
    })();
    // The first stalled reader keeps its slot for at least five seconds, enough for many small answers on any
    // machine.
    const { answered } = await askMeanwhile(whole);
    expect(answered).toBeGreaterThan(3);
    expect((JSON.parse((await whole).text) as { resources: unknown[] }).resources.length).toBeGreaterThan(2);
  } finally {
    for (const socket of sockets) socket.destroy();
  }
});
