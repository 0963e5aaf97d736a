/**
 * A process that binds the Unix socket whose path its parent sends, and answers 'bound' or the reason for the failure.
 * Any other message makes it release the name.
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
