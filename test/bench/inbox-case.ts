/** Reading an inbox by waiting requests, and acknowledging the entries in batches. */
import { silentCounters, silentLog } from '@cmbs/shared';
import { SocketContext } from '../../companion/exchanges/zeromq/options';
import { Requester } from '../../companion/exchanges/zeromq/requester';
import { askOnce, requestText } from './http-load';
import { frames, listeningMember } from './messages';
import { freePort, Product } from './programs';
import { atLeast, median, type Row } from './rounds';

const ROUNDS = 3;
const MESSAGES = 10_000;
const PAGE = 1000;
const AIM_PER_SECOND = 10_000;
const TYPE = 'application/json';

/** Puts messages into the inbox, unmeasured. */
async function fill(requester: Requester, frame: () => string): Promise<void> {
  let left = MESSAGES;
  const one = async (): Promise<void> => {
    while (left-- > 0) await requester.request(frame());
  };
  await Promise.all(Array.from({ length: 128 }, one));
}

/** Messages per second until the inbox is empty. */
async function drain(product: Product, inbox: string): Promise<number> {
  const url = `http://127.0.0.1:${product.port}${inbox}`;
  const started = performance.now();
  for (let got = 0; got < MESSAGES;) {
    // A long answer comes in chunks.
    const answer = await fetch(`${url}?wait=1&number=${PAGE}`, { headers: { Accept: TYPE } });
    const page = (await answer.json()) as {
      readonly entries: readonly { readonly id: string; readonly lease: string }[];
    };
    const entries = page.entries.map(({ id, lease }) => ({ id, lease }));
    const body = JSON.stringify({ entries });
    await askOnce(product.port, requestText('DELETE', inbox, { Accept: TYPE, 'Content-Type': TYPE }, body));
    got += entries.length;
  }
  return (MESSAGES * 1000) / (performance.now() - started);
}

export async function inboxCase(): Promise<readonly Row[]> {
  const product = await Product.start();
  const context = new SocketContext();
  const { socket, path } = await listeningMember(product, await freePort());
  const requester = new Requester(socket, { context, log: silentLog, counters: silentCounters });
  const figures: number[] = [];
  try {
    const inbox = `${path}/inbox/`;
    for (let round = 0; round <= ROUNDS; round += 1) {
      await fill(requester, frames(socket, 'false'));
      const figure = await drain(product, inbox);
      // The first round compiles hot code.
      if (round > 0) figures.push(figure);
    }
  } finally {
    await requester.close();
    context.close();
    await product.close();
  }
  const ratios = figures.map((figure) => figure / AIM_PER_SECOND);
  return [
    {
      what: `inbox: read and acknowledge, ${PAGE} at a time`,
      unit: '/s',
      ours: median(figures),
      against: 'aim',
      other: AIM_PER_SECOND,
      ratio: median(ratios),
      low: Math.min(...ratios),
      high: Math.max(...ratios),
      aim: atLeast(1),
      limit: 'An entry is read, leased by a write, rendered, and deleted.',
    },
  ];
}
