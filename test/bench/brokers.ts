/**
 * Other brokers, if they are installed. The bench starts servers of its own, on free ports of loopback and with a
 * temporary directory, and never uses one that runs already.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { freePort, stop, type EnvironmentVariables } from './programs';

/** Milliseconds until a server accepts connections: RabbitMQ takes 20 s on a busy machine. */
const START_MS = 90_000;
const ASK_AGAIN_MS = 50;
const HOST = '127.0.0.1';

/** Where Debian installs servers; a shell of a user does not look there. RabbitMQ's program in `sbin` changes the user. */
const MORE_FOLDERS = ['/usr/lib/rabbitmq/bin', '/usr/sbin'];

/** A running broker. */
export class Broker {
  readonly #children: readonly ChildProcess[];
  readonly #directory: string;

  constructor(
    children: readonly ChildProcess[],
    directory: string,
    readonly port: number,
  ) {
    this.#children = children;
    this.#directory = directory;
  }

  async close(): Promise<void> {
    for (const child of this.#children) await stop(child);
    await rm(this.#directory, { recursive: true, force: true });
  }
}

async function findProgram(name: string): Promise<string | undefined> {
  const folders = [...MORE_FOLDERS, ...(process.env.PATH ?? '').split(delimiter)];
  for (const folder of folders) {
    const path = join(folder, name);
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
  }
  return undefined;
}

/** Only the given variables, so that settings of the machine's own server have no effect. */
function launch(program: string, args: readonly string[], variables: EnvironmentVariables): ChildProcess {
  const { PATH = '' } = process.env;
  return spawn(program, [...args], { env: { PATH, ...variables }, stdio: 'ignore' });
}

/** Starts servers with a directory of their own; the last one listens on the port. */
async function started(
  start: (directory: string, port: number) => Promise<readonly ChildProcess[]>,
  connect: (port: number) => Promise<void>,
): Promise<Broker> {
  const directory = await mkdtemp(join(tmpdir(), 'cmbs-bench-'));
  const port = await freePort();
  const children = await start(directory, port);
  const broker = new Broker(children, directory, port);
  try {
    await untilConnected(() => connect(port), children);
    return broker;
  } catch (error) {
    await broker.close();
    throw error;
  }
}

async function untilConnected(connect: () => Promise<void>, children: readonly ChildProcess[]): Promise<void> {
  const deadline = performance.now() + START_MS;
  for (;;) {
    try {
      await connect();
      return;
    } catch (error) {
      if (performance.now() > deadline || children.some(({ exitCode }) => exitCode !== null)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
}

/**
 * RabbitMQ without plugins and with its defaults; undefined when it is not installed.
 * @param connect rejects while the server does not answer
 */
export async function startRabbitMq(connect: (port: number) => Promise<void>): Promise<Broker | undefined> {
  const program = await findProgram('rabbitmq-server');
  // Erlang would start its port mapper as a daemon, which stays behind.
  const mapper = await findProgram('epmd');
  if (program === undefined || mapper === undefined) return undefined;
  return started(async (directory, port) => {
    const mapperPort = String(await freePort());
    const plugins = join(directory, 'plugins');
    await writeFile(plugins, '[].');
    const none = join(directory, 'none');
    return [
      launch(mapper, ['-port', mapperPort, '-address', HOST], {}),
      launch(program, [], {
        HOME: directory, // of the cookie
        ERL_EPMD_PORT: mapperPort,
        RABBITMQ_NODENAME: `bench-${process.pid}@localhost`,
        RABBITMQ_NODE_IP_ADDRESS: HOST,
        RABBITMQ_NODE_PORT: String(port),
        RABBITMQ_DIST_PORT: String(await freePort()),
        RABBITMQ_MNESIA_BASE: join(directory, 'data'),
        RABBITMQ_LOG_BASE: join(directory, 'log'),
        RABBITMQ_ENABLED_PLUGINS_FILE: plugins,
        RABBITMQ_CONF_ENV_FILE: none,
        RABBITMQ_CONFIG_FILE: none,
        RABBITMQ_ADVANCED_CONFIG_FILE: none,
        // The script becomes the server, so that the child is the server itself.
        RABBITMQ_ALLOW_INPUT: '1',
        RABBITMQ_SERVER_START_ARGS: '-noinput -kernel inet_dist_use_interface {127,0,0,1}',
      }),
    ];
  }, connect);
}

/** NATS with JetStream; undefined when it is not installed. */
export async function startNats(connect: (port: number) => Promise<void>): Promise<Broker | undefined> {
  const program = await findProgram('nats-server');
  if (program === undefined) return undefined;
  return started(
    (directory, port) =>
      Promise.resolve([
        launch(program, ['-a', HOST, '-p', String(port), '-js', '-sd', directory], { HOME: directory }),
      ]),
    connect,
  );
}
