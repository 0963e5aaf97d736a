/**
 * The number of the last acknowledged commit, in a file beside the database. When the write-ahead log is damaged, cut
 * short or missing, SQLite silently opens the database without the lost commits; by this number the loss is noticed
 * (`test/integration/store-loss.test.ts`).
 *
 * The number is written after the commit is on the disk and before it is acknowledged, so it is never ahead of the
 * database. It is synced about once a second: after the crash of a process it is exact, and after a power cut it may miss
 * the last second.
 */
import { closeSync, fdatasync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { CmbsError } from '../../errors';
import { syncPath } from './backup';

const FILE = 'cmbs.db-acknowledged';
/** Two copies, a sector each, written alternately: a crash during a write damages one of them at most. */
const SLOT_BYTES = 512;
const LINE = /^cmbs 1 ([0-9a-f]{32}) (\d{16}) ([0-9a-f]{8})\n/;

/** The identity of a database, and the number of its commits. */
export interface Standing {
  readonly lineage: string;
  readonly commits: number;
}

function lineOf({ lineage, commits }: Standing): string {
  const text = `cmbs 1 ${lineage} ${String(commits).padStart(16, '0')}`;
  return `${text} ${crc32(text).toString(16).padStart(8, '0')}\n`;
}

function parse(text: string): Standing | undefined {
  const [line, lineage, commits] = LINE.exec(text) ?? [];
  if (lineage === undefined) return undefined;
  const standing = { lineage, commits: Number(commits) };
  return lineOf(standing) === line ? standing : undefined;
}

/**
 * Undefined when there is no record yet.
 *
 * @throws CmbsError `conflict` when the record is damaged
 */
function readAcknowledged(directory: string): Standing | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(join(directory, FILE));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const slots = [bytes.subarray(0, SLOT_BYTES), bytes.subarray(SLOT_BYTES)].map((slot) => parse(slot.toString()));
  const [first, second] = slots;
  if (first === undefined || second === undefined) {
    const whole = first ?? second;
    if (whole !== undefined) return whole;
    throw new CmbsError(
      'conflict',
      `${join(directory, FILE)} is damaged, so it is not known whether data were lost`,
    );
  }
  return first.commits > second.commits ? first : second;
}

/** A sentence, without its full stop, on the acknowledged commits that the database has lost; undefined for none. */
export function lossOf(directory: string, standing: Standing | undefined): string | undefined {
  let acknowledged: Standing | undefined;
  try {
    acknowledged = readAcknowledged(directory);
  } catch (error) {
    if (error instanceof CmbsError) return error.message;
    throw error;
  }
  if (acknowledged === undefined) return undefined;
  if (standing === undefined) return `The database that was in ${directory} is gone, or its log (cmbs.db-wal) is`;
  const { lineage, commits } = standing;
  if (acknowledged.lineage !== lineage) return `The database in ${directory} is not the one that was used here`;
  if (acknowledged.commits <= commits) return undefined;
  return (
    `The last ${acknowledged.commits - commits} of ${acknowledged.commits} commits that were acknowledged are missing ` +
    `in ${directory}: the log (cmbs.db-wal) was damaged, cut short or removed, or an older database was put there`
  );
}

export class AcknowledgedRecord {
  readonly #lineage: string;
  readonly #descriptor: number;
  #slot = 0;
  #isSynced = true;
  #syncing: Promise<void> = Promise.resolve();

  /** Creates or replaces the file. */
  constructor(directory: string, standing: Standing) {
    this.#lineage = standing.lineage;
    const path = join(directory, FILE);
    const partial = `${path}.partial`;
    const descriptor = openSync(partial, 'w+');
    try {
      for (const slot of [0, 1]) writeSync(descriptor, lineOf(standing).padEnd(SLOT_BYTES), slot * SLOT_BYTES);
      fsyncSync(descriptor);
      renameSync(partial, path);
      syncPath(directory);
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
    this.#descriptor = descriptor;
  }

  write(commits: number): void {
    this.#slot = 1 - this.#slot;
    writeSync(this.#descriptor, lineOf({ lineage: this.#lineage, commits }), this.#slot * SLOT_BYTES);
    this.#isSynced = false;
  }

  /** Syncs the file in the background, if it was written. */
  sync(onFailure: (error: Error) => void): void {
    if (this.#isSynced) return;
    this.#isSynced = true;
    this.#syncing = new Promise((resolve) => {
      fdatasync(this.#descriptor, (error) => {
        if (error !== null) onFailure(error);
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    await this.#syncing;
    fsyncSync(this.#descriptor);
    closeSync(this.#descriptor);
  }
}
