/** Makes directories. */
import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/**
 * Makes a directory and its missing parents, one at a time: with `recursive`, Node.js never returns on a file system that
 * takes no directories, such as `/proc`.
 * @throws the system's error, such as EACCES or ENOTDIR
 */
export function makeDirectory(directory: string): void {
  const missing: string[] = [];
  for (
    let path = resolve(directory);
    statSync(path, { throwIfNoEntry: false }) === undefined;
    path = dirname(path)
  ) {
    missing.push(path);
    if (dirname(path) === path) break;
  }
  for (const path of missing.reverse()) makeOne(path);
  // A file has the name: this call throws the system's error.
  if (!statSync(directory).isDirectory()) mkdirSync(directory);
}

function makeOne(path: string): void {
  try {
    mkdirSync(path);
  } catch (error) {
    // Another process may have made it meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}
