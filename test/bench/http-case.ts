/**
 * Reading and creating one entity over HTTP, compared with node:http with the same bytes and with an empty
 * function.
 */
import { askOnce, loadHttp, requestText, type Answer } from './http-load';
import { messageEntity } from './messages';
import { Bare, Deployed, emptyFunction, Product } from './programs';
import { atLeast, compared, inTurn, type Contestant, type Row } from './rounds';

/** Writes and syncs each body, as one write alone would be. */
const SYNCED = 'node:http + one sync';
const ROUNDS = 7;
const ROUND_MS = 350;
const TYPE = 'application/occi+json';

// From a profile on the machine where this was written.
const READ_LIMIT =
  'Beside what both do, routing, negotiation and the look for links take some 15 µs of one thread.';
const WRITE_LIMIT =
  'The entity is parsed, checked, completed and rendered, which is most of it; see the profile. One at a time, every step runs with cold caches.';

/** The headers that node:http adds. */
const OWN_HEADERS = new Set(['date', 'connection', 'keep-alive', 'content-length']);

/** What a bare server answers, to answer the same. */
export function answerOf({ status, head, body }: Answer) {
  const lines = head.split('\r\n').slice(1);
  const headers = lines
    .map((line): [string, string] => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)])
    .filter(([name]) => !OWN_HEADERS.has(name.toLowerCase()));
  return { status, headers: Object.fromEntries(headers), body: Buffer.from(body, 'latin1').toString('utf8') };
}

export async function httpCase(scratch: string): Promise<readonly Row[]> {
  const rows: Row[] = [];
  const product = await Product.start();
  const framework = await Deployed.function(await emptyFunction(scratch), 'empty');
  try {
    await framework.answers(requestText('GET', '/'), 200);
    const path = await product.create('/cmbs/message/', messageEntity('tcp://127.0.0.1:1', 'true'));
    const get = requestText('GET', path, { Accept: TYPE });
    const body = JSON.stringify(messageEntity('tcp://127.0.0.1:1', 'true'));
    const post = requestText('POST', '/cmbs/message/', { Accept: TYPE, 'Content-Type': TYPE }, body);
    for (const [what, request] of [
      ['GET an entity', get],
      ['POST an entity', post],
    ] as const) {
      const answer = answerOf(await askOnce(product.port, request));
      const bare = await Bare.start('http', answer);
      const synced = await Bare.start('http', { ...answer, syncIn: product.directory });
      try {
        for (const connections of [1, 32]) {
          const contestant = (name: string, port: number): Contestant => ({
            name,
            run: async () =>
              (await loadHttp({ port, connections, ms: ROUND_MS, request: () => request })).perSecond,
          });
          const figures = await inTurn(
            [
              contestant('cmbs', product.port),
              contestant('node:http', bare.port),
              contestant('empty function', framework.port),
              contestant(SYNCED, synced.port),
            ],
            ROUNDS,
          );
          const isRead = request === get;
          const common = { what: `${what}, c=${connections}`, unit: '/s', ours: 'cmbs' } as const;
          const isAlone = connections === 1;
          rows.push(
            compared(figures, {
              ...common,
              against: 'node:http',
              ...(isRead ? { aim: atLeast(1 / 3) } : isAlone ? {} : { aim: atLeast(0.35) }),
              limit: isRead ? READ_LIMIT : WRITE_LIMIT,
            }),
            ...(isRead || !isAlone
              ? []
              : [compared(figures, { ...common, against: SYNCED, aim: atLeast(0.5), limit: WRITE_LIMIT })]),
            compared(figures, { ...common, against: 'empty function', ...(isRead ? { aim: atLeast(3) } : {}) }),
          );
        }
      } finally {
        await bare.close();
        await synced.close();
      }
    }
  } finally {
    await framework.close();
    await product.close();
  }
  return rows;
}
