/** Notices when open files were deleted, moved or replaced (`test/integration/store-loss.test.ts`). */
import { statSync } from 'node:fs';

interface Identity {
  readonly path: string;
  readonly dev: number;
  readonly ino: number;
}

/** Undefined for a missing file. */
function identityOf(path: string): Identity | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? undefined : { path, dev: found.dev, ino: found.ino };
}

export class FileIdentity {
  readonly #files: readonly Identity[];

  /** To be called right after the files were opened: while a file is open, no other gets its inode. */
  constructor(paths: readonly string[]) {
    this.#files = paths.map((path) => {
      const identity = identityOf(path);
      if (identity === undefined) throw new Error(`${path} is missing`);
      return identity;
    });
  }

  /** Path of a file that was deleted, moved or replaced; undefined when there is none. Takes microseconds. */
  changed(): string | undefined {
    return this.#files.find(({ path, dev, ino }) => {
      const now = identityOf(path);
      return now?.dev !== dev || now.ino !== ino;
    })?.path;
  }
}
