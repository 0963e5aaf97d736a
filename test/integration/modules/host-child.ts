/**
 * A process with a host of modules, for tests with several processes. Arguments: the directory of the modules, the built
 * worker, the limits of tasks as JSON, and the path of esbuild. It sends `{"event":…}` for `test.tell` of a module, and answers to `test.ask` of
 * a module come as `{"answer":…}`. `{"call":[name, arguments]}` calls a method, whose result is sent as an event, and
 * `{"close":true}` closes the host.
 */
import { newId, type Log, systemClock } from '@cmbs/shared';
import { standardServices, type Value } from '@cmbs/shared/services';
import {
  isDebugged,
  ModuleHost,
  ONCE_LIMITS,
  type OnceLimits,
  standardFunctions,
} from '@cmbs/shared/services/modules';
import { PATIENCE_MS } from '../../patience';
import { storeOfParent } from './shared-store';

const [, , directory = '', workerFile = '', limits = '{}', esbuild] = process.argv;

const line =
  (level: string) =>
  (message: string, fields: object = {}): void => {
    process.stdout.write(`${level} ${message} ${JSON.stringify(fields)}\n`);
  };
const log: Log = { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };

async function main(): Promise<void> {
  const services = standardServices({ clock: systemClock, newId });
  const functions = standardFunctions({ services, groups: async () => [] });
  functions.register('test.tell', (_caller, [event = null]) => {
    process.send?.({ event });
    return null;
  });
  functions.register('test.ask', (_caller, [event = null]) => {
    const answer = new Promise<null>((resolve) => {
      process.on('message', (message: object) => {
        if ('answer' in message) resolve(null);
      });
    });
    process.send?.({ event });
    return answer;
  });
  const host = await ModuleHost.open({
    directory,
    services,
    functions,
    store: storeOfParent(),
    clock: systemClock,
    newId,
    log,
    errors: 'report',
    workerFile,
    esbuild,
    onMainThread: isDebugged(),
    onceLimits: { ...ONCE_LIMITS, ...(JSON.parse(limits) as Partial<OnceLimits>) },
  });
  process.on('message', (message: object) => {
    if ('call' in message) {
      const [method, args] = message.call as [string, readonly Value[]];
      const signal = AbortSignal.timeout(PATIENCE_MS);
      void services
        .call(method, args, { principal: { kind: 'user', name: 'tester' }, signal, log })
        .then((result) => process.send?.({ event: `${method} returned ${JSON.stringify(result)}` }));
    }
    if (!('close' in message)) return;
    process.channel?.unref();
    void host.close().then(() => {
      process.send?.({ event: 'closed' });
      process.disconnect();
    });
  });
  process.send?.({ event: services.has('table') || services.has('weather') ? 'open' : 'broken' });
}

void main();
