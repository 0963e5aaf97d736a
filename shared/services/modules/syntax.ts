/** The place of a syntax error, which the error of `import()` does not have. */
import { execFile } from 'node:child_process';
import { ModuleError } from './errors';

/** Files that are checked, each by a short process, and milliseconds for one. */
const MAX_CHECKED = 20;
const CHECK_MS = 10_000;
/** Has files `.js` checked as ECMAScript modules. */
const AS_MODULE = ['--experimental-default-type=module'];

/** An error with the place, for a syntax error in one of the files; any other error unchanged. */
export async function withPlace(error: unknown, files: readonly string[]): Promise<unknown> {
  if (!(error instanceof ModuleError) || !error.message.startsWith('SyntaxError: ')) return error;
  const checked = files.filter((one) => /\.[cm]?js$/.test(one)).slice(0, MAX_CHECKED);
  // Without `"type": "module"`, Node.js does not check a file `.js` that has `export`.
  for (const flags of [[], AS_MODULE]) {
    for (const file of checked) {
      const place = await placeIn(file, flags);
      if (place !== undefined)
        return new ModuleError(`${error.message} (${place})`, `${error.message}\n    at ${place}`);
    }
  }
  return error;
}

/** `file:line` of the first syntax error; undefined for a file without one. */
function placeIn(file: string, flags: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...flags, '--check', file],
      { timeout: CHECK_MS, env: {} },
      (failed, _output, errors) => {
        const [first = ''] = errors.split('\n', 1);
        resolve(failed !== null && /:\d+$/.test(first) ? first.replace(/^file:\/\//, '') : undefined);
      },
    );
  });
}
