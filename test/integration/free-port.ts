/**
 * Ports that are free until the test binds them, even if several test runs share the machine.
 *
 * The ports lie below the range of outgoing connections (32,768 upwards). Each test file reserves blocks of ports: it
 * listens on the first port of a block while it runs, so that no other test file of this or another run takes the same
 * block.
 */
import { createServer, type Server } from 'node:net';

const FIRST = 10_000;
/** The first port only marks the block as taken. */
const PORTS_PER_BLOCK = 50;
const BLOCKS = 400;
/** `fetch` refuses this port (Fetch standard, "Port blocking"), so no test server can use it. */
const REFUSED_BY_FETCH = 10_080;

const held: Server[] = [];
let block = 0;
/** Index of the last port within the block; the first block is taken on the first call. */
let last = PORTS_PER_BLOCK;

/** Listens on the port; undefined when it is taken. */
async function listenOn(port: number): Promise<Server | undefined> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

async function isFree(port: number): Promise<boolean> {
  const server = await listenOn(port);
  if (server === undefined) return false;
  await new Promise((resolve) => server.close(resolve));
  return true;
}

async function takeBlock(): Promise<void> {
  const start = Math.floor(Math.random() * BLOCKS);
  for (let tried = 0; tried < BLOCKS; tried++) {
    const one = (start + tried) % BLOCKS;
    const mark = await listenOn(FIRST + one * PORTS_PER_BLOCK);
    if (mark === undefined) continue;
    mark.unref();
    held.push(mark);
    block = one;
    last = 0;
    return;
  }
  throw new Error(`there is no free block of ports from ${FIRST} on`);
}

/** Serialises the calls, since two concurrent calls would get the same port. */
let asked: Promise<unknown> = Promise.resolve();

export function freePort(): Promise<number> {
  const port = asked.then(nextPort);
  asked = port.catch(() => undefined);
  return port;
}

async function nextPort(): Promise<number> {
  for (;;) {
    if (last + 1 >= PORTS_PER_BLOCK) await takeBlock();
    last += 1;
    const port = FIRST + block * PORTS_PER_BLOCK + last;
    if (port !== REFUSED_BY_FETCH && (await isFree(port))) return port;
  }
}

// A worker runs many test files, and the blocks of a file must not outlive it. The set-up of a run keeps its block.
if (typeof afterAll === 'function') {
  afterAll(() => {
    for (const server of held.splice(0)) server.close();
    last = PORTS_PER_BLOCK;
  });
}
