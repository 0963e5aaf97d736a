/**
 * Ports that nobody has. They are taken from below the range from which the system gives outgoing connections theirs
 * (32,768 upwards): a port of that range may be gone between asking for it and binding it. Each jest worker has a range
 * of its own, so that test files that run side by side never choose the same.
 */
import { createServer } from 'node:net';

const FIRST = 10_000;
const PER_WORKER = 4000;
const WORKERS = 5;

const worker = (Number(process.env.JEST_WORKER_ID ?? '1') - 1) % WORKERS;
/** Each test file starts somewhere else: it loads this module anew, after files whose ports may still be closing. */
let last = Math.floor(Math.random() * PER_WORKER);

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

export async function freePort(): Promise<number> {
  for (let tried = 0; tried < PER_WORKER; tried++) {
    last = (last + 1) % PER_WORKER;
    const port = FIRST + worker * PER_WORKER + last;
    if (await isFree(port)) return port;
  }
  throw new Error('there is no free port in the range of this worker');
}
