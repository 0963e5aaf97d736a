/** `npm run emulators` as a user runs it, with the emulators of this machine. */
import { freePort } from '../integration/free-port';
import { Program } from './processes';
import { describeOnEmulators, itRestartsEmulators } from './support';

const SHOW = 'console.log(process.env.FIRESTORE_EMULATOR_HOST, process.env.PUBSUB_EMULATOR_HOST); process.exit(7)';

async function isAnswering(host: string): Promise<boolean> {
  try {
    return (await fetch(`http://${host}/`, { signal: AbortSignal.timeout(5000) })).ok;
  } catch {
    return false;
  }
}

describeOnEmulators('npm run emulators', (hosts) => {
  const running = { FIRESTORE_EMULATOR_HOST: hosts.firestore, PUBSUB_EMULATOR_HOST: hosts.pubsub };
  const { CLOUDSDK_ROOT_DIR = '', JAVA_HOME = '' } = process.env;
  const machine = { ...(CLOUDSDK_ROOT_DIR && { CLOUDSDK_ROOT_DIR }), ...(JAVA_HOME && { JAVA_HOME }) };

  itRestartsEmulators(
    'starts the emulators for a command, exits with its code, and stops the emulators',
    async () => {
      const ports = [String(await freePort()), String(await freePort())] as const;
      const [firestore, pubsub] = ports.map((port) => `127.0.0.1:${port}`);
      const program = new Program(
        'local/emulators.js',
        ['--firestore-port', ports[0], '--pubsub-port', ports[1], '--', process.execPath, '-e', SHOW],
        machine,
      );
      expect(await program.ended).toEqual({ code: 7, signal: null });
      expect(program.lines).toContain(`${firestore} ${pubsub}`);
      expect(await Promise.all([isAnswering(String(firestore)), isAnswering(String(pubsub))])).toEqual([
        false,
        false,
      ]);
    },
  );

  test('uses running emulators, prints their addresses, and does not stop them', async () => {
    const program = new Program('local/emulators.js', [], running);
    try {
      const wanted = Object.entries(running).map(([name, value]) => `export ${name}=${value}`);
      await program.says(wanted.at(-1) ?? '');
      expect(program.lines).toEqual(expect.arrayContaining(wanted));
    } finally {
      await program.stop();
    }
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(await Promise.all([isAnswering(hosts.firestore), isAnswering(hosts.pubsub)])).toEqual([true, true]);
  });

  test.each([
    [['--port', '1'], "Unknown option '--port'"],
    [['--firestore-port', '99999'], '"99999" is not a port'],
    [['--', 'no-such-program'], 'no-such-program cannot be run'],
  ])('explains why %j is wrong', async (args, said) => {
    const program = new Program('local/emulators.js', args, running);
    expect(await program.ended).toEqual({ code: 2, signal: null });
    expect(program.lines.join('\n')).toContain(said);
  });
});
