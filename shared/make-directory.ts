/** Makes directories. */
import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/**
 * Makes a directory and those above it, where they are missing. One at a time: the recursive form of Node.js never
 * returns where a file system takes no directories (`/proc`).
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
  // A file in its place: says so.
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
