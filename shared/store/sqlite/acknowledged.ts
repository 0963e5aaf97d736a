/**
 * The number of the last commit that was acknowledged, in a file of its own beside the database. SQLite takes the end of a
 * damaged, shortened or missing log for the end of what was written; by this number we know better.
 *
 * The number is written after the commit's log is on the disk and before anybody is told, so it is never ahead of what the
 * database has after a crash of any kind. It is written in place and synced once in a while: after a power cut it may be
 * behind by that time, and then what it misses is not noticed; after the death of a process it is exact.
 */
import { closeSync, fdatasync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { CmbsError } from '../../errors';
import { syncPath } from './backup';

const FILE = 'cmbs.db-acknowledged';
/** Two copies, a sector each, written in turn: one is whole, whatever happens during a write. */
const SLOT_BYTES = 512;
const LINE = /^cmbs 1 ([0-9a-f]{32}) (\d{16}) ([0-9a-f]{8})\n/;

/** Where a database stands: which one it is, and how many commits it has seen. */
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

/** What was acknowledged; undefined where no record is kept yet. Throws `conflict` when the record cannot be read. */
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
    throw new CmbsError('conflict', `${join(directory, FILE)} is damaged, so nobody knows whether data were lost`);
  }
  return first.commits > second.commits ? first : second;
}

/** One sentence, without its end, on what the database has lost of what was acknowledged; undefined for nothing. */
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

  /** Makes the file, or makes it anew, with where the database stands. */
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

  /** Syncs what was written since the last time, beside the program. */
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
