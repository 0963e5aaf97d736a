/** A watch of directories. It reports that something changed, not what. */
import { type FSWatcher, statSync, watch } from 'node:fs';
import type { Log } from '../../log';

interface Watched {
  readonly watcher: FSWatcher;
  /** Identifies the directory: another one may take its path. */
  readonly id: string;
}

export class DirectoryWatch {
  readonly #watched = new Map<string, Watched>();
  readonly #changed: () => void;
  readonly #log: Log;
  #isWhole = true;

  constructor(changed: () => void, log: Log) {
    this.#changed = changed;
    this.#log = log;
  }

  /** False when a directory could not be watched; then only looking finds its changes. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** Watches these directories and no others. Returns whether one is new, so that it may have changed before. */
  set(directories: readonly string[]): boolean {
    this.#isWhole = true;
    for (const [path, { watcher }] of this.#watched) {
      if (directories.includes(path)) continue;
      watcher.close();
      this.#watched.delete(path);
    }
    return directories.map((path) => this.#watch(path)).includes(true);
  }

  #watch(path: string): boolean {
    try {
      const { dev, ino } = statSync(path);
      const id = `${dev}:${ino}`;
      const before = this.#watched.get(path);
      if (before?.id === id) return false;
      before?.watcher.close();
      const watcher = watch(path, { persistent: false }, () => this.#changed());
      // Such as a directory that was removed: the next look finds it.
      watcher.on('error', () => {
        watcher.close();
        this.#watched.delete(path);
        this.#changed();
      });
      this.#watched.set(path, { watcher, id });
      return true;
    } catch (error) {
      this.#isWhole = false;
      this.#log.warn('a directory of modules cannot be watched; changes are found later', { path, cause: error });
      return false;
    }
  }

  close(): void {
    for (const { watcher } of this.#watched.values()) watcher.close();
    this.#watched.clear();
  }
}
