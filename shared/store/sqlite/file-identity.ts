/** Whether the files that are open are still those that the next start will find. */
import { statSync } from 'node:fs';

interface Identity {
  readonly path: string;
  readonly dev: number;
  readonly ino: number;
}

/** Throws what `statSync` throws but for a missing file. */
function identityOf(path: string): Identity | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? undefined : { path, dev: found.dev, ino: found.ino };
}

export class FileIdentity {
  readonly #files: readonly Identity[];

  /** To be called when the files have just been opened. A file cannot get the number of one that is open. */
  constructor(paths: readonly string[]) {
    this.#files = paths.map((path) => {
      const identity = identityOf(path);
      if (identity === undefined) throw new Error(`${path} is gone`);
      return identity;
    });
  }

  /** Path of a file that was deleted, moved or replaced; undefined when there is none. Costs microseconds. */
  changed(): string | undefined {
    return this.#files.find(({ path, dev, ino }) => {
      const now = identityOf(path);
      return now?.dev !== dev || now.ino !== ino;
    })?.path;
  }
}
