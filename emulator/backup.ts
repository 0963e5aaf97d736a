/**
 * `npm run backup -- [DEST]`: copies the data of a stack, running or stopped, to the new directory DEST (by default
 * `backup-<time>` inside the data directory, which is CMBS_DATA_DIR or `.cmbs`).
 *
 * To restore: stop the stack, move its data directory away, and either start with CMBS_DATA_DIR set to (a copy of) the
 * backup, or copy the backup's `cmbs.db` into an empty data directory. That directory must not contain a `-wal` or `-shm`
 * file of the old database.
 */
import { join, resolve } from 'node:path';
import type { EnvironmentVariables } from '@cmbs/shared/config';
import { backupDirectory } from '@cmbs/shared/store/sqlite';

/** Copies the data; returns the exit code. */
export function runBackup(
  args: readonly string[],
  env: EnvironmentVariables,
  now: Date,
  print: { out(line: string): void; err(line: string): void },
): number {
  if (args.length > 1 || args[0]?.startsWith('-') === true) {
    print.err('Usage: npm run backup -- [DEST]');
    return 2;
  }
  const source = resolve(env.CMBS_DATA_DIR ?? '.cmbs');
  const time = now.toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const target = resolve(args[0] ?? join(source, `backup-${time}`));
  try {
    backupDirectory(source, target);
  } catch (error) {
    print.err(`Backup failed: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
  print.out(`Backed up ${source} to ${target}`);
  return 0;
}

if (require.main === module) {
  process.exitCode = runBackup(process.argv.slice(2), process.env, new Date(), {
    out: (line) => console.log(line),
    err: (line) => console.error(line),
  });
}
