/** `npm start`: the whole broker on this machine, with nothing but Node. */
import { CmbsError, VERSION } from '@cmbs/shared';
import { ConfigError, readConfig, settingsHelp } from '@cmbs/shared/config';
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

async function main(args: readonly string[]): Promise<number> {
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
  const stack = await startStack({ config, log });
  process.stdout.write(welcome(stack.url, config.CMBS_DATA_DIR));
  const signal = await new Promise<string>((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => resolve(name));
  });
  process.stdout.write(`${signal}: finishing what is in hand\n`);
  await stack.close();
  process.stdout.write('stopped\n');
  return 0;
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    const isExpected = error instanceof ConfigError || error instanceof CmbsError;
    process.stderr.write(`${isExpected ? error.message : String((error as Error).stack ?? error)}\n`);
    process.exitCode = 1;
  },
);
