/**
 * A program that replaces one file as fast as it can, with contents that say whether they are whole, for tests that kill
 * the program. It prints a line for each put, after the put.
 */
import { systemClock } from '@cmbs/shared';
import { VirtualFiles } from '@cmbs/shared/services/builtin';

async function main(): Promise<void> {
  const [, , directory = ''] = process.argv;
  const files = await VirtualFiles.open(directory, { clock: systemClock, bytes: 1024 ** 3 });
  for (let n = 0; ; n += 1) {
    await files.put(['file'], Buffer.alloc(300_000, n % 251));
    process.stdout.write(`put ${n}\n`);
  }
}

void main();
