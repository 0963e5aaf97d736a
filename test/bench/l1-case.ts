/** L1 request and reply between two processes, against DEALER and ROUTER sockets with the same frames. */
import { silentCounters, silentLog } from '@cmbs/shared';
import { SocketContext } from '../../companion/exchanges/zeromq/options';
import { Requester } from '../../companion/exchanges/zeromq/requester';
import { Dealer } from 'zeromq';
import { frames, listeningMember, type Flag } from './messages';
import { Bare, freePort, Product } from './programs';
import { atLeast, compared, inTurn, type Row } from './rounds';

const ROUNDS = 7;
const ROUND_MS = 400;
const WINDOWS = [1, 128] as const;
/** Writes and syncs each frame before the reply. */
const SYNCED = 'DEALER/ROUTER + one sync';
const AIMS = {
  false: { 1: atLeast(0.5), 128: atLeast(0.7) },
  true: { 1: atLeast(0.6), 128: atLeast(0.6) },
} as const;

const UNSTORED_LIMIT =
  'A message is parsed and checked, and its receipt is written after the reply; see the profile of durable receipts.';
const DURABLE_LIMIT = 'Two documents are written, the receipt and the copy of the message; see the profile.';

/** Keeps `window` requests in flight through the companion's own socket; replies per second. */
export async function throughRequester(
  requester: Requester,
  window: number,
  frame: () => string,
): Promise<number> {
  let done = 0;
  const started = performance.now();
  const isOver = (): boolean => performance.now() - started > ROUND_MS;
  const one = async (): Promise<void> => {
    while (!isOver()) {
      const reply = await requester.request(frame());
      if (reply.includes('"error"')) throw new Error(reply.toString());
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: window }, one));
  return (done * 1000) / (performance.now() - started);
}

/** Requests without CMBS in between. */
async function throughDealer(dealer: Dealer, window: number, frame: () => string): Promise<number> {
  const id = Buffer.alloc(4);
  const send = (): Promise<void> => dealer.send([id, '', frame()]);
  let done = 0;
  let inFlight = window;
  const started = performance.now();
  for (let at = 0; at < window; at++) await send();
  while (inFlight > 0) {
    await dealer.receive();
    done += 1;
    if (performance.now() - started > ROUND_MS) inFlight -= 1;
    else await send();
  }
  return (done * 1000) / (performance.now() - started);
}

export async function l1Case(): Promise<readonly Row[]> {
  const rows: Row[] = [];
  const product = await Product.start();
  const context = new SocketContext();
  const { socket } = await listeningMember(product, await freePort());
  const requester = new Requester(socket, { context, log: silentLog, counters: silentCounters });
  const dealer = new Dealer({ linger: 0 });
  const syncedDealer = new Dealer({ linger: 0 });
  let bare: Bare | undefined;
  let synced: Bare | undefined;
  try {
    const reply = await requester.request(frames(socket, 'false')());
    bare = await Bare.start('router', { reply: reply.toString() });
    dealer.connect(`tcp://127.0.0.1:${bare.port}`);
    synced = await Bare.start('router', { reply: reply.toString(), syncIn: product.directory });
    syncedDealer.connect(`tcp://127.0.0.1:${synced.port}`);
    for (const storable of ['false', 'true'] as const satisfies readonly Flag[]) {
      for (const window of WINDOWS) {
        const frame = frames(socket, storable);
        const isDurable = storable === 'true';
        const figures = await inTurn(
          [
            { name: 'cmbs', run: () => throughRequester(requester, window, frame) },
            { name: 'DEALER/ROUTER', run: () => throughDealer(dealer, window, frame) },
            { name: SYNCED, run: () => throughDealer(syncedDealer, window, frame) },
          ],
          ROUNDS,
        );
        const common = {
          what: `L1, ${isDurable ? 'durable receipt' : 'not stored'}, ${window} in flight`,
          unit: '/s',
          ours: 'cmbs',
          limit: isDurable ? DURABLE_LIMIT : UNSTORED_LIMIT,
        };
        const aim = AIMS[storable][window];
        if (isDurable && window === 1) rows.push(compared(figures, { ...common, against: SYNCED, aim }));
        else rows.push(compared(figures, { ...common, against: 'DEALER/ROUTER', aim }));
      }
    }
  } finally {
    dealer.close();
    syncedDealer.close();
    await requester.close();
    context.close();
    await bare?.close();
    await synced?.close();
    await product.close();
  }
  return rows;
}
