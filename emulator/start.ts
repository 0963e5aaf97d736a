/** `npm start`: the local stack (`main.js` beside this file) under a supervisor that starts it again when it dies. */
import { join } from 'node:path';
import { DEFAULT_MEMORY_LIMIT_MB } from '@cmbs/shared/limits';
import { SEVERITIES, terminalLog } from './log';
import { STOP_SIGNALS } from './supervision';
import { Supervisor } from './supervisor';

/** Part of it that V8's heap may take; buffers and native code need the rest. */
const HEAP_SHARE = 0.75;
/** Milliseconds between two looks of a supervisor whether the process that started it is still there. */
const PARENT_LOOK_MS = 500;

/** V8's own bound is below the program's, so that garbage is collected before the limit of the process is reached. */
function heapOptions({ CMBS_MEMORY_LIMIT_MB: limit, NODE_OPTIONS: given = '' }: NodeJS.ProcessEnv): string[] {
  const megabytes = Math.floor(Number(limit ?? DEFAULT_MEMORY_LIMIT_MB) * HEAP_SHARE);
  const isOurs = megabytes > 0 && ![given, ...process.execArgv].join(' ').includes('--max-old-space-size');
  return isOurs ? [`--max-old-space-size=${megabytes}`] : [];
}

/** Calls `orphaned` once when the process that started this one has ended. */
function whenOrphaned(orphaned: () => void): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    orphaned();
  }, PARENT_LOOK_MS);
  timer.unref();
}

async function main(): Promise<void> {
  const { env } = process;
  // A setting that is not valid is told by the program; the supervisor only has to get that far.
  const least = SEVERITIES.find((severity) => severity === env.CMBS_LOG) ?? 'info';
  const supervisor = new Supervisor({
    args: [...process.execArgv, ...heapOptions(env), join(__dirname, 'main.js'), ...process.argv.slice(2)],
    environment: env,
    log: terminalLog(least, (line) => process.stderr.write(line)),
  });
  for (const name of STOP_SIGNALS) process.on(name, () => supervisor.stop(name));
  // npm ends at a signal and does not pass it on to what its shell runs.
  if (env.npm_lifecycle_event !== undefined) whenOrphaned(() => supervisor.stop('SIGTERM'));
  const { code, signal } = await supervisor.run();
  if (signal === null) {
    process.exitCode = code ?? 1;
    return;
  }
  // Ended as the child was, so that a shell sees what it would have seen without a supervisor.
  for (const name of STOP_SIGNALS) process.removeAllListeners(name);
  process.kill(process.pid, signal);
}

main().catch((error: unknown) => {
  process.stderr.write(`The stack could not be started: ${String((error as Error).stack ?? error)}\n`);
  process.exitCode = 1;
});
