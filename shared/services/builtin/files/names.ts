/** Names of files below the virtual root: relative, with slashes, and never decoded. */
import { badRequest, CmbsError } from '../../../errors';
import { FILES } from '../../../occi';
import { MAX_FILE_DEPTH, MAX_FILE_NAME_BYTES, MAX_FILE_PART_BYTES } from './limits';

/** The parts of a name. The root has none. */
export type FileName = readonly string[];

/** The path of a file, or of a directory, for access rules and over HTTP. */
export const pathOf = (name: FileName, type: 'file' | 'directory' = 'file'): string =>
  FILES + name.join('/') + (type === 'directory' && name.length > 0 ? '/' : '');

/** How answers show a name: without the slash at the beginning. */
export const shownName = (name: FileName): string => name.join('/');

/**
 * Control characters, backslashes, and what UTF-8 cannot carry. U+FFFD stands in listings of Node.js for bytes that are no
 * UTF-8, so a name with it would not be the name on the disk.
 */
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f\\\ufffd\u2028\u2029]|\p{Surrogate}/u;

/** Whether a text can be a part of a name. Names that begin with a dot are hidden: `.`, `..` and temporary files too. */
export const isPart = (part: string): boolean =>
  part !== '' && !part.startsWith('.') && !FORBIDDEN.test(part) && Buffer.byteLength(part) <= MAX_FILE_PART_BYTES;

const shown = (text: string): string => JSON.stringify(text.slice(0, 100));

/**
 * The parts of a name from outside. A slash at the end is allowed, and the empty name is the root.
 * @throws CmbsError `bad_request`
 */
export function fileName(text: string): FileName {
  if (text === '') return [];
  if (text.startsWith('/')) {
    throw badRequest(`The name ${shown(text)} begins with "/"; names are relative to the root of the files.`);
  }
  if (Buffer.byteLength(text) > MAX_FILE_NAME_BYTES) {
    throw badRequest(`A name has ${MAX_FILE_NAME_BYTES} bytes at most; this one has more.`);
  }
  const parts = (text.endsWith('/') ? text.slice(0, -1) : text).split('/');
  const wrong = parts.find((part) => !isPart(part));
  if (wrong !== undefined) {
    throw badRequest(
      `${shown(wrong)} cannot be part of a name: it is not empty, does not begin with ".", and has no "\\", no control ` +
        `characters and ${MAX_FILE_PART_BYTES} bytes at most.`,
    );
  }
  if (parts.length > MAX_FILE_DEPTH) {
    throw badRequest(`A name has ${MAX_FILE_DEPTH} parts at most; this one has ${parts.length}.`);
  }
  return parts;
}

/** The answer for what is not there, which is also the one for what the caller may not know of. */
export const nothingAt = (name: FileName): CmbsError =>
  new CmbsError('not_found', `There is nothing at ${pathOf(name)}.`);
