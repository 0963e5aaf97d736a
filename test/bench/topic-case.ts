/** Messages that are created and sent on a topic in one request, with one local member that takes them. */
import { askOnce, loadHttp, requestText } from './http-load';
import { answerOf } from './http-case';
import { messageOnTopic, subscribedMember } from './messages';
import { Bare, freePort, Product } from './programs';
import { atLeast, compared, inTurn, type Row } from './rounds';

const ROUNDS = 5;
const ROUND_MS = 500;
const TYPE = 'application/occi+json';
/** Writes and syncs each body, as one write alone would be. */
const SYNCED = 'node:http + one sync';
const LIMIT =
  'Five commits, three of them in a row: the message is queued, published and recorded, and then received and settled.';

export async function topicCase(): Promise<readonly Row[]> {
  const rows: Row[] = [];
  const product = await Product.start();
  const started: Bare[] = [];
  try {
    await subscribedMember(product, await freePort());
    const body = JSON.stringify(messageOnTopic());
    const send = requestText('POST', '/cmbs/message/?send', { Accept: TYPE, 'Content-Type': TYPE }, body);
    const answer = await askOnce(product.port, send);
    if (!answer.body.includes('"delivered"')) throw new Error(`not delivered: ${answer.body}`);
    const bare = await Bare.start('http', answerOf(answer));
    started.push(bare);
    const synced = await Bare.start('http', { ...answerOf(answer), syncIn: product.directory });
    started.push(synced);
    for (const connections of [1, 64]) {
      const run = (port: number) => async (): Promise<number> =>
        (await loadHttp({ port, connections, ms: ROUND_MS, request: () => send })).perSecond;
      const figures = await inTurn(
        [
          { name: 'cmbs', run: run(product.port) },
          { name: 'node:http', run: run(bare.port) },
          { name: SYNCED, run: run(synced.port) },
        ],
        ROUNDS,
      );
      const isAlone = connections === 1;
      rows.push(
        compared(figures, {
          what: `POST ?send on L3.2, c=${connections}`,
          unit: '/s',
          ours: 'cmbs',
          against: isAlone ? SYNCED : 'node:http',
          aim: atLeast(isAlone ? 0.4 : 0.3),
          limit: LIMIT,
        }),
      );
    }
  } finally {
    for (const one of started) await one.close();
    await product.close();
  }
  return rows;
}
