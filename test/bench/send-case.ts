/** `send_l1` over HTTP to a second deployment and back, compared with node:http, a DEALER and a ROUTER. */
import { askOnce, loadHttp, requestText } from './http-load';
import { frames, listeningMember, messageEntity } from './messages';
import { Bare, freePort, Product } from './programs';
import { atLeast, compared, inTurn, type Row } from './rounds';

const ROUNDS = 5;
const ROUND_MS = 500;
const TYPE = 'application/occi+json';

export async function sendCase(): Promise<readonly Row[]> {
  const rows: Row[] = [];
  const sender = await Product.start();
  const receiver = await Product.start();
  const started: Bare[] = [];
  try {
    await listeningMember(sender, await freePort());
    const { socket } = await listeningMember(receiver, await freePort());
    for (const connections of [1, 16]) {
      // One message per connection: a second send of a message in flight would be the same send.
      const paths = await Promise.all(
        Array.from({ length: connections }, () => sender.create('/cmbs/message/', messageEntity(socket, 'true'))),
      );
      const requests = paths.map((path) => requestText('POST', `${path}?action=send_l1`, { Accept: TYPE }));
      const { body } = await askOnce(sender.port, requests[0] as string);
      if (!body.includes('"delivered"')) throw new Error(`not delivered: ${body}`);
      const router = await Bare.start('router', { reply: body });
      started.push(router);
      const bare = await Bare.start('http-to-dealer', { router: router.port, frame: frames(socket, 'true')() });
      started.push(bare);
      const run = (port: number) => async (): Promise<number> =>
        (await loadHttp({ port, connections, ms: ROUND_MS, request: (at) => requests[at] as string })).perSecond;
      const figures = await inTurn(
        [
          { name: 'cmbs', run: run(sender.port) },
          { name: 'HTTP → DEALER → ROUTER', run: run(bare.port) },
        ],
        ROUNDS,
      );
      rows.push(
        compared(figures, {
          what: `send_l1 by HTTP, c=${connections}`,
          unit: '/s',
          ours: 'cmbs',
          against: 'HTTP → DEALER → ROUTER',
          ...(connections === 1 ? {} : { aim: atLeast(0.35) }),
          limit:
            'Three commits in a row, each with its sync (queued, the receipt, the outcome), in two processes; see the profile.',
        }),
      );
    }
  } finally {
    for (const one of started) await one.close();
    await sender.close();
    await receiver.close();
  }
  return rows;
}
