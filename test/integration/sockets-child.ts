/**
 * A child process with one socket, for tests that try to break the process or to fill its memory. Arguments: the
 * class of the socket and, where that connects, the address. It prints the address that it listens at, and then the
 * number of each kind of event, at every change, as one line of JSON.
 */
import { type Counters, silentLog } from '@cmbs/shared';
import { Broadcaster } from '../../companion/exchanges/zeromq/broadcaster';
import { Listener } from '../../companion/exchanges/zeromq/listener';
import { SocketContext } from '../../companion/exchanges/zeromq/options';
import { Replier } from '../../companion/exchanges/zeromq/replier';
import { Requester } from '../../companion/exchanges/zeromq/requester';

const LOOPBACK = 'tcp://127.0.0.1:*';
/** Milliseconds of work on one message: slower than the messages of a flood. */
const WORK_MS = 5;

const counts: Record<string, number> = {};
const counters: Counters = {
  add: (name, labels: Readonly<Record<string, string>> = {}, n = 1) => {
    const key = labels.reason === undefined ? name : `${name}:${labels.reason}`;
    counts[key] = (counts[key] ?? 0) + n;
  },
};

async function main([role = '', address = '']: readonly string[]): Promise<void> {
  const options = { context: new SocketContext(), log: silentLog, counters };
  const work = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, WORK_MS));
  let listening = '';
  switch (role) {
    case 'replier': {
      const answer = async (body: Buffer): Promise<Buffer> => {
        await work();
        return body;
      };
      listening = (await Replier.bind(LOOPBACK, answer, { ...options, errorReply: ({ code }) => code })).address;
      break;
    }
    case 'listener':
      listening = (await Listener.bind(LOOPBACK, work, options)).address;
      break;
    case 'requester': {
      const requester = new Requester(address, options);
      const ask = (): void => void requester.request('x').then(ask, () => setTimeout(ask, WORK_MS));
      for (let asked = 0; asked < 10; asked += 1) ask();
      break;
    }
    case 'broadcaster': {
      const broadcaster = new Broadcaster(address, options);
      const repeat = (): void => {
        for (let sent = 0; sent < 100 && broadcaster.send(Buffer.alloc(64 * 1024)); sent += 1);
        setTimeout(repeat, WORK_MS);
      };
      repeat();
      break;
    }
    default:
      throw new Error(`no role ${role}`);
  }
  process.stdout.write(`${listening}\n`);
  process.stdin.on('data', () => process.stdout.write(`${JSON.stringify(counts)}\n`));
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = 1;
});
