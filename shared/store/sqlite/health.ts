/** Whether the store may be used: it stops for good when its files are gone, or what it writes may not last. */
import { type Clock } from '../../clock';
import { CmbsError } from '../../errors';
import { type Log } from '../../log';
import { abortedError } from '../cancellation';
import { FileIdentity } from './file-identity';

/** Milliseconds between two looks whether the files are those of the directory, and between syncs of the record of them. */
const FILE_LOOK_MS = 1000;

export class StoreHealth {
  readonly #files: FileIdentity;
  readonly #clock: Clock;
  readonly #log: Log;
  #refusal: CmbsError | undefined;
  #isClosed = false;
  #cancelLook = (): void => undefined;

  /** @param path of the database, which is open */
  constructor(path: string, clock: Clock, log: Log) {
    this.#files = new FileIdentity([path, `${path}-wal`]);
    this.#clock = clock;
    this.#log = log;
  }

  /** Why the store has stopped. */
  get refusal(): CmbsError | undefined {
    return this.#refusal;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelLook();
  }

  /** Looks from time to time, and does `more` while all is well: a store that is idle has no commit that would find out. */
  lookAgain(more: () => void): void {
    this.#cancelLook = this.#clock.after(FILE_LOOK_MS, () => {
      this.look();
      if (this.#refusal !== undefined || this.#isClosed) return;
      more();
      this.lookAgain(more);
    });
  }

  /** Stops the store when its files are not those of its directory any more. */
  look(): void {
    if (this.#refusal !== undefined) return;
    const changed = this.#files.changed();
    if (changed === undefined) return;
    this.refuse(
      'The data directory was deleted, moved or replaced while the program ran, and the store has stopped: nothing ' +
        'written now would last. Stop the program, put the directory or a backup in its place and start again.',
      new Error(`${changed} is not the file that is open`),
    );
  }

  /** Throws `unavailable` when the store has stopped or is closed, and the reason of a signal that has aborted. */
  assertUsable(signal: AbortSignal | undefined): void {
    if (this.#refusal !== undefined) throw this.#refusal;
    if (this.#isClosed) throw closedError();
    if (signal?.aborted === true) throw abortedError(signal);
  }

  /** A failed sync cannot be repeated: the kernel may have dropped what it could not write and forgotten about it. */
  syncFailed(error: Error): void {
    this.refuse(
      'The store could not make writes durable and has stopped; check the disk of the data directory and start again.',
      error,
    );
  }

  /** Stops the store. */
  refuse(message: string, cause: unknown): void {
    // What follows from the first reason is no news.
    if (this.#refusal !== undefined) return;
    this.#refusal = new CmbsError('unavailable', message, { cause });
    this.#log.error(message, { cause });
  }

  /** The error, which is logged when something is behind it. */
  logged(error: CmbsError): CmbsError {
    if (error.cause !== undefined)
      this.#log.error('the store refused a request', { code: error.code, cause: error.cause });
    return error;
  }
}

export function closedError(): CmbsError {
  return new CmbsError('unavailable', 'The store is closed; repeat the request when the program runs again.');
}
