/** The folders of modules: which there are, whether one has changed, and the checksum of its files. */
import { createHash } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MAX_FILES, MAX_FOLDER_BYTES } from './limits';

const ENTRIES = ['index.js', 'index.mjs', 'index.ts'];

const isAbsent = (error: unknown): boolean =>
  ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '');

const absentAs =
  <T>(value: T) =>
  (error: unknown): T => {
    if (!isAbsent(error)) throw error;
    return value;
  };

/** Names of the folders in a directory, also of links to folders; hidden ones and `node_modules` are left out. */
export async function foldersIn(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  const names: string[] = [];
  for (const entry of entries) {
    if (isHidden(entry.name)) continue;
    if (entry.isDirectory() || (entry.isSymbolicLink() && (await isFolder(join(directory, entry.name))))) {
      names.push(entry.name);
    }
  }
  return names.sort();
}

const isHidden = (name: string): boolean => name.startsWith('.') || name === 'node_modules';

export async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

/** What a folder contains, as one look finds it. */
export interface FolderState {
  /** Absolute paths of the files, sorted. */
  readonly files: readonly string[];
  /** Absolute paths of the folder and of those in it. */
  readonly folders: readonly string[];
  /** Differs when a file has been written, added, replaced or removed. */
  readonly mark: string;
}

/**
 * Looks at a folder; undefined when there is none.
 * @throws Error for more files than a module may have
 */
export async function look(folder: string): Promise<FolderState | undefined> {
  if (!(await isFolder(folder))) return undefined;
  const files: string[] = [];
  const folders: string[] = [];
  const marks: string[] = [];
  const waiting = [folder];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    folders.push(path);
    for (const entry of await readdir(path, { withFileTypes: true }).catch(noEntries)) {
      if (isHidden(entry.name)) continue;
      const inner = join(path, entry.name);
      if (entry.isDirectory()) {
        waiting.push(inner);
        continue;
      }
      const found = await stat(inner).catch(absentAs(undefined));
      if (found?.isFile() !== true) {
        // A link to nothing or to a folder, or a file that was removed meanwhile.
        marks.push(`${inner} is no file`);
        continue;
      }
      const { size, mtimeMs, ctimeMs, ino } = found;
      files.push(inner);
      marks.push(`${inner} ${size} ${mtimeMs} ${ctimeMs} ${ino}`);
      if (files.length > MAX_FILES) throw new Error(`It has more than ${MAX_FILES} files.`);
    }
  }
  return { files: files.sort(), folders: folders.sort(), mark: marks.sort().join('\n') };
}

const noEntries = (error: unknown): readonly Dirent[] => absentAs<readonly Dirent[]>([])(error);

/** The file that is imported. @throws Error when there is none, or more than one */
export function entryIn(folder: string, { files }: FolderState): string {
  const found = ENTRIES.filter((name) => files.includes(join(folder, name)));
  const [entry] = found;
  if (entry === undefined) throw new Error(`It has no ${ENTRIES.join(', ')}.`);
  if (found.length > 1) throw new Error(`It has ${found.join(' and ')}; leave one of them.`);
  return join(folder, entry);
}

/** A checksum of the names and contents of the files. @throws Error for a folder that is too large */
export async function checksumOf(folder: string, { files }: FolderState): Promise<string> {
  const hash = createHash('sha256');
  let bytes = 0;
  for (const file of files) {
    const content = await readFile(file);
    bytes += content.length;
    if (bytes > MAX_FOLDER_BYTES) throw new Error(`Its files have more than ${MAX_FOLDER_BYTES} bytes.`);
    hash.update(`${file.slice(folder.length)} ${content.length}\n`).update(content);
  }
  return hash.digest('hex').slice(0, 32);
}
