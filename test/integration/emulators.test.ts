/** The choice of emulators, and the messages without any, with small programs in place of the real emulators. */
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  EmulatorsMissing,
  PortTaken,
  restartableEmulator,
  startEmulators,
  WrongEmulatorVariables,
} from '@cmbs/emulator/emulators';
import { isAnswering } from '@cmbs/emulator/emulators/server-process';
import startForRun from '../cloud/start-emulators';
import { VARIABLES } from '../cloud/emulators-of-run';
import { freePort } from './free-port';

/** Answers GET on the port after `--port=`, or on the ports in the file after `--config`, until it is stopped. */
const STAND_IN = `#!${process.execPath}
const { createServer } = require('node:http');
const { readFileSync } = require('node:fs');
const args = process.argv.slice(2);
const at = args.indexOf('--config');
const ports = at < 0
  ? args.filter((arg) => arg.startsWith('--port=')).map((arg) => Number(arg.slice(7)))
  : Object.values(JSON.parse(readFileSync(args[at + 1], 'utf8')).emulators).flatMap(({ port }) => port ?? []);
for (const port of ports) createServer((_, response) => response.end(args.join(' '))).listen(port, '127.0.0.1');
`;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cmbs-test-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function program(name: string, text = STAND_IN): Promise<void> {
  await mkdir(join(directory, 'bin'), { recursive: true });
  await writeFile(join(directory, 'bin', name), text);
  await chmod(join(directory, 'bin', name), 0o755);
}

/** An SDK whose emulators are empty files; the program `java` stands in for the emulators. */
async function cloudSdk(): Promise<void> {
  const firestore = join(directory, 'sdk/platform/cloud-firestore-emulator');
  const pubsub = join(directory, 'sdk/platform/pubsub-emulator/lib');
  await mkdir(firestore, { recursive: true });
  await mkdir(pubsub, { recursive: true });
  await writeFile(join(firestore, 'cloud-firestore-emulator.jar'), '');
  await writeFile(join(pubsub, 'cloud-pubsub-emulator-1.2.3-all.jar'), '');
}

const environment = (more = {}) => ({ PATH: join(directory, 'bin'), HOME: directory, ...more });
const inSdk = () => environment({ CLOUDSDK_ROOT_DIR: join(directory, 'sdk') });

async function answerOf(host: string): Promise<string> {
  return (await fetch(`http://${host}/`)).text();
}

async function listen(
  answer = (response: ServerResponse): unknown => response.end('Ok'),
): Promise<{ readonly server: Server; readonly host: string }> {
  const server = createServer((_, response) => void answer(response));
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return { server, host: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

test('running emulators are used and not stopped', async () => {
  const { server, host } = await listen();
  try {
    const emulators = await startEmulators({
      environment: environment({ FIRESTORE_EMULATOR_HOST: host, PUBSUB_EMULATOR_HOST: host }),
    });
    expect(emulators.hosts).toEqual({ firestore: host, pubsub: host });
    await emulators.stop();
    expect(await isAnswering(host)).toBe(true);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});

test('an emulator that a variable names and that does not answer is reported', async () => {
  const host = `127.0.0.1:${await freePort()}`;
  const starting = startEmulators({
    environment: environment({ FIRESTORE_EMULATOR_HOST: host, PUBSUB_EMULATOR_HOST: host }),
  });
  await expect(starting).rejects.toThrow(`No emulator answers at ${host}, which FIRESTORE_EMULATOR_HOST names`);
  await expect(starting).rejects.toThrow(WrongEmulatorVariables);
});

test('a slow running emulator is used, and one that exceeds the deadline is an error', async () => {
  const { server, host } = await listen((response) => setTimeout(() => response.end('Ok'), 2500));
  const hosts = { FIRESTORE_EMULATOR_HOST: host, PUBSUB_EMULATOR_HOST: host };
  try {
    const emulators = await startEmulators({ environment: environment(hosts) });
    expect(emulators.areOurs).toBe(false);
    const tooSlow = startEmulators({ environment: environment(hosts), answerMs: 100 });
    await expect(tooSlow).rejects.toThrow(WrongEmulatorVariables);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

test('a test run fails instead of skipping tests when the emulators of the variables do not answer', async () => {
  const host = `127.0.0.1:${await freePort()}`;
  const before = { ...process.env };
  // This test run may have no emulators.
  Reflect.deleteProperty(process.env, VARIABLES.missing);
  process.env[VARIABLES.identityKey] = join(directory, 'identity.pem');
  process.env.FIRESTORE_EMULATOR_HOST = host;
  process.env.PUBSUB_EMULATOR_HOST = host;
  try {
    await expect(startForRun()).rejects.toThrow(WrongEmulatorVariables);
    expect(process.env[VARIABLES.missing]).toBeUndefined();
  } finally {
    process.env = before;
  }
});

test('one of the two variables without the other is an error', async () => {
  const starting = startEmulators({ environment: environment({ PUBSUB_EMULATOR_HOST: '127.0.0.1:1' }) });
  await expect(starting).rejects.toThrow(WrongEmulatorVariables);
});

test('an installed Firebase suite starts both emulators on the requested ports', async () => {
  await program('firebase');
  const ports = { firestore: await freePort(), pubsub: await freePort() };
  const emulators = await startEmulators({ ports, environment: environment() });
  try {
    expect(emulators.hosts.firestore).toBe(`127.0.0.1:${ports.firestore}`);
    expect(await answerOf(emulators.hosts.pubsub)).toMatch(
      /^emulators:start --only firestore,pubsub --project demo-cmbs --config /,
    );
  } finally {
    await emulators.stop();
  }
  expect(await isAnswering(emulators.hosts.firestore)).toBe(false);
});

test('the Cloud SDK emulators are started with Java on loopback', async () => {
  await cloudSdk();
  await program('java');
  const emulators = await startEmulators({ environment: inSdk() });
  try {
    const { firestore, pubsub } = emulators.hosts;
    expect(await answerOf(firestore)).toContain(
      'com.google.cloud.datastore.emulator.firestore.CloudFirestore --host=127.0.0.1',
    );
    expect(await answerOf(pubsub)).toContain('cloud-pubsub-emulator-1.2.3-all.jar --host=127.0.0.1');
    expect(emulators.variables).toEqual({ FIRESTORE_EMULATOR_HOST: firestore, PUBSUB_EMULATOR_HOST: pubsub });
  } finally {
    await emulators.stop();
  }
});

test('a missing Java is reported in one line with what to install, and a failing Java with its failure', async () => {
  await cloudSdk();
  const withoutJava = startEmulators({ environment: inSdk() });
  await expect(withoutJava).rejects.toThrow(/^Install Java 11 or newer[^\n]*$/);
  await expect(withoutJava).rejects.toThrow(EmulatorsMissing);
  await program('java', '#!/bin/sh\nexit 1\n');
  const broken = startEmulators({ environment: inSdk() });
  await expect(broken).rejects.toThrow(/could not be started: it ended with exit code 1/);
});

test('a program that does not start is reported with its output', async () => {
  await program('firebase', '#!/bin/sh\necho "Error: no such thing" >&2\nexit 3\n');
  const starting = startEmulators({ environment: environment() });
  await expect(starting).rejects.toThrow(/it ended with exit code 3\.\n {2}Error: no such thing/);
});

describe('an emulator whose second port is in use', () => {
  /** Fails like the Firestore emulator on the first `failures` starts; records the arguments of each start. */
  const failing = (failures: number): Promise<void> =>
    program(
      'java',
      STAND_IN.replace(
        'const args =',
        `const { appendFileSync } = require('node:fs');
const starts = ${JSON.stringify(join(directory, 'starts'))};
if (process.argv.join().includes('CloudFirestore')) {
  appendFileSync(starts, process.argv.at(-1) + '\\n');
  if (readFileSync(starts, 'utf8').split('\\n').length - 1 <= ${failures}) {
    console.error('java.io.IOException: Failed to bind to address 127.0.0.1: Address already in use');
    process.exit(1);
  }
}
const args =`,
      ),
    );
  const starts = async () => (await readFile(join(directory, 'starts'), 'utf8')).trim().split('\n');

  test('is started again on other ports', async () => {
    await cloudSdk();
    await failing(2);
    const emulators = await startEmulators({ environment: inSdk() });
    try {
      expect(await answerOf(emulators.hosts.firestore)).toContain('CloudFirestore');
      expect(await isAnswering(emulators.hosts.pubsub)).toBe(true);
    } finally {
      await emulators.stop();
    }
    const ports = await starts();
    expect(ports).toHaveLength(3);
    expect(new Set(ports).size).toBe(3);
    expect(ports[2]).toBe(`--port=${emulators.hosts.firestore.split(':')[1]}`);
  });

  test('is an error after several attempts', async () => {
    await cloudSdk();
    await failing(100);
    await expect(startEmulators({ environment: inSdk() })).rejects.toThrow(
      /^The Firestore emulator could not be started: .*\n.*Address already in use/,
    );
    expect(await starts()).toHaveLength(4);
  });

  test('starts at its address when it is restartable', async () => {
    await cloudSdk();
    await failing(1);
    const emulator = await restartableEmulator('firestore', inSdk());
    try {
      await emulator.start();
      expect(await isAnswering(emulator.host)).toBe(true);
    } finally {
      await emulator.stop();
    }
    expect(await starts()).toHaveLength(2);
  });
});

test('a port in use is refused, because the program there could be taken for the emulator', async () => {
  await program('firebase');
  const { server, host } = await listen();
  try {
    const ports = { firestore: Number(host.split(':')[1]) };
    await expect(startEmulators({ ports, environment: environment() })).rejects.toThrow(PortTaken);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});

test('a restartable emulator restarts at the same address', async () => {
  await cloudSdk();
  await program('java');
  const emulator = await restartableEmulator('firestore', inSdk());
  try {
    await emulator.start();
    await emulator.restart();
    expect(await isAnswering(emulator.host)).toBe(true);
  } finally {
    await emulator.stop();
  }
  expect(await isAnswering(emulator.host)).toBe(false);
});

test('firebase.json has the ports that Google documents, on loopback only', async () => {
  const text = await readFile(join(__dirname, '../../emulator/firebase.json'), 'utf8');
  expect(JSON.parse(text)).toEqual({
    emulators: {
      firestore: { host: '127.0.0.1', port: 8080 },
      pubsub: { host: '127.0.0.1', port: 8085 },
      ui: { enabled: false },
    },
  });
});
