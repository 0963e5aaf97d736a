/** `npm start`: the local stack (`main.js` beside this file) under a supervisor that restarts it when it crashes. */
import { join } from 'node:path';
import { DEFAULT_MEMORY_LIMIT_MB } from '@cmbs/shared/limits';
import { SEVERITIES, terminalLog } from './log';
import { STOP_SIGNALS } from './supervision';
import { Supervisor } from './supervisor';

/** The fraction of the memory limit for V8's heap; buffers and native code need the rest. */
const HEAP_PART = 0.75;
/** Milliseconds between two checks whether the parent process still exists. */
const PARENT_CHECK_MS = 500;

/** V8's limit is lower than the program's, so that V8 collects garbage before the program reaches its limit. */
function heapOptions({ CMBS_MEMORY_LIMIT_MB: limit, NODE_OPTIONS: given = '' }: NodeJS.ProcessEnv): string[] {
  const megabytes = Math.floor(Number(limit ?? DEFAULT_MEMORY_LIMIT_MB) * HEAP_PART);
  const isOurs = megabytes > 0 && ![given, ...process.execArgv].join(' ').includes('--max-old-space-size');
  return isOurs ? [`--max-old-space-size=${megabytes}`] : [];
}

/** Calls `orphaned` once when the parent process has ended. */
function whenOrphaned(orphaned: () => void): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    orphaned();
  }, PARENT_CHECK_MS);
  timer.unref();
}

async function main(): Promise<void> {
  const { env } = process;
  // The program itself reports a setting that is not valid.
  const least = SEVERITIES.find((severity) => severity === env.CMBS_LOG) ?? 'info';
  const supervisor = new Supervisor({
    args: [...process.execArgv, ...heapOptions(env), join(__dirname, 'main.js'), ...process.argv.slice(2)],
    environment: env,
    log: terminalLog(least, (line) => process.stderr.write(line)),
  });
  for (const name of STOP_SIGNALS) process.on(name, () => supervisor.stop(name));
  // npm ends at a signal without passing the signal on.
  if (env.npm_lifecycle_event !== undefined) whenOrphaned(() => supervisor.stop('SIGTERM'));
  const { code, signal } = await supervisor.run();
  if (signal === null) {
    process.exitCode = code ?? 1;
    return;
  }
  // Ends by the same signal as the child, for the shell.
  for (const name of STOP_SIGNALS) process.removeAllListeners(name);
  process.kill(process.pid, signal);
}

main().catch((error: unknown) => {
  process.stderr.write(`The stack could not be started: ${String((error as Error).stack ?? error)}\n`);
  process.exitCode = 1;
});
