/**
 * A process that wants the name of a Unix socket when its parent tells the path, and says 'bound', or why not. Any other
 * message makes it give the name back.
 */
import { SocketContext } from '../../companion/exchanges/zeromq/options';
import { Replier } from '../../companion/exchanges/zeromq/replier';
import { silentCounters, silentLog } from '@cmbs/shared';

const options = { context: new SocketContext(), log: silentLog, counters: silentCounters, errorReply: String };
let bound: Replier | undefined;

async function take(path: string): Promise<string> {
  try {
    bound = await Replier.bind({ scheme: 'ipc', text: path, path }, () => 'yes', options);
    return 'bound';
  } catch (error) {
    return (error as { details?: { reason?: string } }).details?.reason ?? String(error);
  }
}

async function giveBack(): Promise<string> {
  await bound?.close(0);
  bound = undefined;
  return 'given back';
}

process.on('message', (message: { path?: string }) => {
  const done = message.path === undefined ? giveBack() : take(message.path);
  void done.then((outcome) => process.send?.(outcome));
});
process.send?.('ready');
