/** The local stack as a program: arguments, settings, a welcome, and a stop on a signal. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CmbsError, systemClock, VERSION, type Log } from '@cmbs/shared';
import { ConfigError, readConfig, settingsHelp } from '@cmbs/shared/config';
import { watchMemory } from '@cmbs/shared/memory-watch';
import { RESTART_EXIT_CODE, takeHasData, takeRestarts } from '@cmbs/shared/restarts';
import type { ServiceModule } from '@cmbs/shared/services';
import { DATABASE_FILE } from '@cmbs/shared/store/sqlite';
import { stackLog } from './log';
import { startStack } from './stack';
import { stopRequested, tellSupervisor } from './supervision';

/** Milliseconds that an orderly stop has then. */
const MEMORY_STOP_MS = 3000;

const HELP = `CMBS ${VERSION}: a message broker that is managed as a cloud resource.

Usage: npm start [-- --help | --version]

Settings are environment variables:
${settingsHelp()}
`;

function welcome(url: string, directory: string): string {
  return `CMBS ${VERSION} is ready.

  OCCI endpoint   ${url}
  What it knows   curl ${url}/-/
  Members         curl ${url}/cmbs/member/
  Metrics         curl ${url}/metrics
  Data            ${directory}

Ctrl-C stops it.
`;
}

async function run(args: readonly string[], services: readonly ServiceModule[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(HELP);
    return 0;
  }
  if (args.includes('--version')) {
    process.stdout.write(`${VERSION}\n`);
    return 0;
  }
  if (args.length > 0) {
    process.stderr.write(`Unknown argument ${JSON.stringify(args[0])}; try --help.\n`);
    return 2;
  }
  const restarts = takeRestarts(process.env);
  const hasData = takeHasData(process.env);
  const config = readConfig(process.env, (line) => process.stderr.write(`${line}\n`));
  const log = stackLog(config.CMBS_LOG, (line) => process.stderr.write(line));
  if (hasData && !existsSync(join(config.CMBS_DATA_DIR, DATABASE_FILE))) {
    throw new CmbsError(
      'unavailable',
      `The data of this stack are gone from ${config.CMBS_DATA_DIR}; put the directory back, or a backup, and start again.`,
    );
  }
  const stack = await startStack({ config, log, services, restarts });
  // Before anybody hears that it is ready, and may stop it.
  const stop = stopRequested();
  process.stdout.write(welcome(stack.url, config.CMBS_DATA_DIR));
  tellSupervisor({ type: 'ready', port: Number(new URL(stack.url).port || '80') });
  const reason = await Promise.race([stop, memoryExceeded(config.CMBS_MEMORY_LIMIT_MB, log)]);
  if (reason === undefined) {
    // What holds the memory may hold up an orderly stop as well; everything acknowledged is on the disk.
    setTimeout(() => process.exit(RESTART_EXIT_CODE), MEMORY_STOP_MS);
    await stack.close();
    log.flush();
    process.exit(RESTART_EXIT_CODE);
  }
  process.stdout.write(`${reason}: finishing what is in hand\n`);
  await stack.close();
  log.flush();
  process.stdout.write('stopped\n');
  return 0;
}

/** Resolves, without a reason to tell anybody at the terminal, when the process has outgrown its limit. */
function memoryExceeded(limitMb: number, log: Log): Promise<undefined> {
  return new Promise((resolve) => {
    watchMemory({
      limitMb,
      clock: systemClock,
      onExceeded: (usedMb) => {
        log.error('the stack uses too much memory and ends, to be started again; see CMBS_MEMORY_LIMIT_MB', {
          used_mb: usedMb,
          limit_mb: limitMb,
        });
        resolve(undefined);
      },
    });
  });
}

/**
 * Runs until a signal comes and sets the exit code: 0, 1 when it cannot start, 2 for arguments that it does not know.
 * `services` are offered besides the standard ones.
 */
export function runProgram(args: readonly string[], services: readonly ServiceModule[] = []): void {
  run(args, services).then(
    (code) => {
      tellSupervisor({ type: 'final' });
      process.exitCode = code;
    },
    (error: unknown) => {
      const isExpected = error instanceof ConfigError || error instanceof CmbsError;
      if (isExpected) tellSupervisor({ type: 'final' });
      process.stderr.write(`${isExpected ? error.message : String((error as Error).stack ?? error)}\n`);
      process.exitCode = 1;
    },
  );
}
