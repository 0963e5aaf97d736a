/** Whether the store can be used. It stops for good when its files are missing, or a sync has failed. */
import { type Clock } from '../../clock';
import { CmbsError } from '../../errors';
import { type Log } from '../../log';
import { abortedError } from '../cancellation';
import { FileIdentity } from './file-identity';

/** Milliseconds between two checks of the files, and between two syncs of the acknowledged number. */
const FILE_CHECK_MS = 1000;

export class StoreHealth {
  readonly #files: FileIdentity;
  readonly #clock: Clock;
  readonly #log: Log;
  #refusal: CmbsError | undefined;
  #isClosed = false;
  #cancelLook = (): void => undefined;

  /** @param path of the open database */
  constructor(path: string, clock: Clock, log: Log) {
    this.#files = new FileIdentity([path, `${path}-wal`]);
    this.#clock = clock;
    this.#log = log;
  }

  /** The reason why the store has stopped. */
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

  /** Checks the files at intervals, for a store without commits, and calls `more` each time. */
  lookAgain(more: () => void): void {
    this.#cancelLook = this.#clock.after(FILE_CHECK_MS, () => {
      this.look();
      if (this.#refusal !== undefined || this.#isClosed) return;
      more();
      this.lookAgain(more);
    });
  }

  /** Stops the store when its files were deleted, moved or replaced. */
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

  /** @throws CmbsError `unavailable` when the store has stopped or is closed, `deadline_exceeded` when the signal aborted */
  assertUsable(signal: AbortSignal | undefined): void {
    if (this.#refusal !== undefined) throw this.#refusal;
    if (this.#isClosed) throw closedError();
    if (signal?.aborted === true) throw abortedError(signal);
  }

  /** Stops the store. A failed sync cannot be repeated: the kernel may have dropped the data that it could not write. */
  syncFailed(error: Error): void {
    this.refuse(
      'The store could not make writes durable and has stopped; check the disk of the data directory and start again.',
      error,
    );
  }

  /** Stops the store. */
  refuse(message: string, cause: unknown): void {
    // Later failures follow from the first one.
    if (this.#refusal !== undefined) return;
    this.#refusal = new CmbsError('unavailable', message, { cause });
    this.#log.error(message, { cause });
  }

  /** Logs the error when it has a cause, and returns it. */
  logged(error: CmbsError): CmbsError {
    if (error.cause !== undefined)
      this.#log.error('the store refused a request', { code: error.code, cause: error.cause });
    return error;
  }
}

export function closedError(): CmbsError {
  return new CmbsError('unavailable', 'The store is closed; repeat the request when the program runs again.');
}
