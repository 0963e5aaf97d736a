/** The Firebase Emulator Suite (`firebase-tools`), when it is installed. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import suite from '../firebase.json';
import { type EmulatorKind } from './cloud-sdk';
import { ServerProcess } from './server-process';

/** For a project whose name begins with `demo-` Firebase calls no service of Google's. */
const PROJECT = 'demo-cmbs';

/** Starts both emulators with `program`; rejects with its output when they do not start. */
export async function startFirebaseSuite(
  program: string,
  ports: Readonly<Record<EmulatorKind, number>>,
): Promise<{ stop(): Promise<void> }> {
  const directory = await mkdtemp(join(tmpdir(), 'cmbs-firebase-'));
  const config = join(directory, 'firebase.json');
  const { firestore, pubsub, ...others } = suite.emulators;
  const emulators = {
    firestore: { ...firestore, port: ports.firestore },
    pubsub: { ...pubsub, port: ports.pubsub },
    ...others,
  };
  const server = new ServerProcess({
    name: 'The Firebase Emulator Suite',
    command: program,
    args: ['emulators:start', '--only', 'firestore,pubsub', '--project', PROJECT, '--config', config],
    hosts: [`${firestore.host}:${ports.firestore}`, `${pubsub.host}:${ports.pubsub}`],
  });
  const remove = (): Promise<void> => rm(directory, { recursive: true, force: true });
  try {
    await writeFile(config, JSON.stringify({ emulators }));
    await server.start();
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    stop: async () => {
      await server.stop();
      await remove();
    },
  };
}
