/** Shared by the tests of ZeroMQ sockets: a recording environment, and waits. */
import { SocketContext, type SocketEnvironment } from '../../companion/exchanges/zeromq/options';
import { RecordedCounters, RecordedLog } from '../recorded';

export { freePort } from './free-port';
export { becomes, deferred, next, within } from '../waits';

export interface RecordedEnvironment extends SocketEnvironment {
  readonly counters: RecordedCounters;
  readonly log: RecordedLog;
}

export function recordedEnvironment(): RecordedEnvironment {
  return { context: new SocketContext(), counters: new RecordedCounters(), log: new RecordedLog() };
}
