/** The local stack as a program: arguments, settings, a welcome, and a stop on a signal. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CmbsError, systemClock, VERSION, type Log } from '@cmbs/shared';
import { type Config, ConfigError, readConfig, settingsHelp } from '@cmbs/shared/config';
import { watchMemory } from '@cmbs/shared/memory-watch';
import { RESTART_EXIT_CODE, takeHasData, takeRestarts } from '@cmbs/shared/restarts';
import type { ServiceModule } from '@cmbs/shared/services';
import { DATABASE_FILE } from '@cmbs/shared/store/sqlite';
import { stackLog } from './log';
import { startStack } from './stack';
import { stopRequested, tellSupervisor } from './supervision';

/** Milliseconds for an orderly stop when the process uses too much memory. */
const MEMORY_STOP_MS = 3000;

const HELP = `CMBS ${VERSION}: a message broker that is managed as a cloud resource.

Usage: npm start [-- --help | --version]

Settings are environment variables:
${settingsHelp()}
`;

/** Who may do what, and how to let people in. */
function whoMay({ CMBS_IDENTITIES: identities, CMBS_OPEN_TO_EVERYONE: isOpen }: Config): string {
  if (identities.length > 0) return `  Callers         prove who they are by ${identities.join(' or ')}`;
  const whom = isOpen
    ? 'everybody who reaches it may do everything'
    : 'everybody on this machine may do everything';
  return `  Callers         ${whom}; to let only users in, whom root admits:
                  (umask 077; openssl rand -base64 18 >root.password); CMBS_IDENTITIES=basic,token CMBS_ADMINISTRATORS=root CMBS_ADMIN_PASSWORD_FILE=root.password npm start`;
}

function welcome(url: string, directory: string, callers: string): string {
  return `CMBS ${VERSION} is ready.

  OCCI endpoint   ${url}
  What it knows   curl ${url}/-/
  Members         curl ${url}/cmbs/member/
  Metrics         curl ${url}/metrics
  Data            ${directory}
${callers}

Ctrl-C stops it.
`;
}

/** `URL` leaves out the port that belongs to the scheme. */
function portIn(url: string): number {
  const { port, protocol } = new URL(url);
  return Number(port || (protocol === 'https:' ? '443' : '80'));
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
      `The data of this stack are missing in ${config.CMBS_DATA_DIR}; restore the directory or a backup and start again.`,
    );
  }
  if (config.CMBS_OPEN_TO_EVERYONE) log.warn('open to everyone: every caller may do everything');
  const stack = await startStack({ config, log, services, restarts });
  // Registered before the program reports that it is ready, since a signal may follow at once.
  const stop = stopRequested();
  process.stdout.write(welcome(stack.url, config.CMBS_DATA_DIR, whoMay(config)));
  tellSupervisor({ type: 'ready', port: portIn(stack.url) });
  const reason = await Promise.race([stop, memoryExceeded(config.CMBS_MEMORY_LIMIT_MB, log)]);
  if (reason === undefined) {
    // An orderly stop may fail without memory. All acknowledged data are on the disk.
    setTimeout(() => process.exit(RESTART_EXIT_CODE), MEMORY_STOP_MS);
    await stack.close();
    log.flush();
    process.exit(RESTART_EXIT_CODE);
  }
  process.stdout.write(`${reason}: finishing requests in flight\n`);
  await stack.close();
  log.flush();
  process.stdout.write('stopped\n');
  return 0;
}

/** Resolves with undefined when the process uses too much memory. */
function memoryExceeded(limitMb: number, log: Log): Promise<undefined> {
  return new Promise((resolve) => {
    watchMemory({
      limitMb,
      clock: systemClock,
      onExceeded: (usedMb) => {
        log.error('the stack uses too much memory and is restarted; see CMBS_MEMORY_LIMIT_MB', {
          used_mb: usedMb,
          limit_mb: limitMb,
        });
        resolve(undefined);
      },
    });
  });
}

/**
 * Runs until a signal arrives, then sets the exit code: 0; 1 when the stack cannot start; 2 for unknown arguments.
 *
 * @param services service modules besides the standard ones
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
