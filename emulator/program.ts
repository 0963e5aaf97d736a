/** The local stack as a program: arguments, settings, a welcome, and a stop on a signal. */
import { CmbsError, VERSION } from '@cmbs/shared';
import { ConfigError, readConfig, settingsHelp } from '@cmbs/shared/config';
import type { ServiceModule } from '@cmbs/shared/services/module';
import { terminalLog } from './log';
import { startStack } from './stack';

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
  const config = readConfig(process.env);
  const log = terminalLog(config.CMBS_LOG, (line) => process.stderr.write(line));
  const stack = await startStack({ config, log, services });
  process.stdout.write(welcome(stack.url, config.CMBS_DATA_DIR));
  const signal = await new Promise<string>((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => resolve(name));
  });
  process.stdout.write(`${signal}: finishing what is in hand\n`);
  await stack.close();
  process.stdout.write('stopped\n');
  return 0;
}

/**
 * Runs until a signal comes and sets the exit code: 0, 1 when it cannot start, 2 for arguments that it does not know.
 * `services` are offered besides the standard ones.
 */
export function runProgram(args: readonly string[], services: readonly ServiceModule[] = []): void {
  run(args, services).then(
    (code) => {
      process.exitCode = code;
    },
    (error: unknown) => {
      const isExpected = error instanceof ConfigError || error instanceof CmbsError;
      process.stderr.write(`${isExpected ? error.message : String((error as Error).stack ?? error)}\n`);
      process.exitCode = 1;
    },
  );
}
