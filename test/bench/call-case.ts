/**
 * Calls of methods in messages on L1, compared with messages without a call, and the cost of the thread in which a module
 * of a directory runs.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentCounters, silentLog } from '@cmbs/shared';
import { SocketContext } from '../../companion/exchanges/zeromq/options';
import { Requester } from '../../companion/exchanges/zeromq/requester';
import { throughRequester } from './l1-case';
import { calls, frames, listeningMember } from './messages';
import { freePort, Product } from './programs';
import { atLeast, compared, inTurn, type Row } from './rounds';

const ROUNDS = 7;
const WINDOWS = [1, 128] as const;
const ARGUMENTS = ['building-4/floor-2/room-17', 21.5];

const LIMIT =
  'A call is recorded twice, before it runs and with its answer, so that a crash neither loses nor repeats it; a message is recorded once.';
const HOP_LIMIT = 'The arguments and the result are copied to the thread of the module and back.';

/** The method of `echo`, as a module of a directory. */
const MODULE = `exports.methods = {
  echo: { documentation: 'Returns its arguments.', signatures: ['array'], flags: { anyArguments: true }, call: (_context, args) => args },
};
`;

export async function callCase(): Promise<readonly Row[]> {
  const rows: Row[] = [];
  const directory = await mkdtemp(join(tmpdir(), 'cmbs-bench-modules-'));
  await mkdir(join(directory, 'threaded'));
  await writeFile(join(directory, 'threaded', 'index.js'), MODULE);
  const product = await Product.start({ settings: { CMBS_MODULES_DIR: directory } });
  const context = new SocketContext();
  try {
    const { socket } = await listeningMember(product, await freePort());
    const requester = new Requester(socket, { context, log: silentLog, counters: silentCounters });
    try {
      for (const window of WINDOWS) {
        const contestant = (name: string, frame: () => string) => ({
          name,
          run: () => throughRequester(requester, window, frame),
        });
        const figures = await inTurn(
          [
            contestant('call', calls(socket, 'echo.echo', ARGUMENTS)),
            contestant('call in a thread', calls(socket, 'threaded.echo', ARGUMENTS)),
            contestant('message', frames(socket, 'true')),
          ],
          ROUNDS,
        );
        rows.push(
          compared(figures, {
            what: `L1, call and answer, ${window} in flight`,
            unit: '/s',
            ours: 'call',
            against: 'message',
            aim: atLeast(window === 1 ? 0.5 : 0.8),
            limit: LIMIT,
          }),
          compared(figures, {
            what: `L1, call of a module in a thread, ${window} in flight`,
            unit: '/s',
            ours: 'call in a thread',
            against: 'call',
            limit: HOP_LIMIT,
          }),
        );
      }
    } finally {
      await requester.close();
    }
  } finally {
    context.close();
    await product.close();
    await rm(directory, { recursive: true, force: true });
  }
  return rows;
}
