/**
 * `npm run demo`: two deployments on this machine discover each other, exchange a message on each layer, and lose
 * nothing when one is killed. The demo checks its statements; the exit code is 1 when a statement is wrong. The demo
 * leaves no files.
 */
import { join } from 'node:path';
import { Deployment } from './demo/deployment';
import { Differs, statements } from './demo/statements';
import { tellStory } from './demo/story';
import { narrator } from './demo/terminal';

const write = (text: string): void => void process.stdout.write(text);

async function demo(): Promise<number> {
  const voice = narrator(write, process.stdout.isTTY && process.env.NO_COLOR === undefined);
  const checked = statements(voice);
  const program = join(__dirname, 'main.js');
  const alice = new Deployment('alice', program, voice);
  const bob = new Deployment('bob', program, voice);
  const both = [alice, bob];
  const interrupted = new Promise<never>((_, reject) => {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.once(name, () => reject(new Interrupted(name)));
    }
    process.stdout.once('error', () => reject(new Interrupted('the output was closed')));
  });
  const began = performance.now();
  try {
    await Promise.race([tellStory({ alice, bob, narrator: voice, statements: checked }), interrupted]);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    write(`\nEverything held: ${checked.count} statements checked in ${seconds} s.\n`);
    return 0;
  } catch (error) {
    if (error instanceof Interrupted) {
      process.stderr.write(`\n${error.message}: stopping\n`);
      return 130;
    }
    process.stderr.write(
      `\n${error instanceof Differs ? error.message : String((error as Error).stack ?? error)}\n`,
    );
    for (const { name, log } of both) for (const line of log) process.stderr.write(`  ${name}: ${line}\n`);
    return 1;
  } finally {
    await Promise.all(both.map((one) => one.remove()));
  }
}

/** Ctrl-C, or a closed output. */
class Interrupted extends Error {}

void demo().then((code) => {
  // The story may still be waiting for an answer.
  process.exit(code);
});
