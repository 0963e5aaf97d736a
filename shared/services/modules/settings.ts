/** The settings of modules: a JSON file with an object for each module. Nothing of its content is ever logged. */
import { readFile } from 'node:fs/promises';
import { CmbsError } from '../../errors';
import { isJsonObject, type Json } from '../../json';
import type { Settings } from './kit';

/**
 * The settings of each module; none without a file.
 * @throws CmbsError `bad_request`, without any part of the content
 */
export async function readModuleSettings(file: string | undefined): Promise<Readonly<Record<string, Settings>>> {
  if (file === undefined) return {};
  return settingsIn(await textOf(file));
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    throw new CmbsError('bad_request', `The file of CMBS_MODULE_SETTINGS cannot be read (${code}).`);
  }
}

function settingsIn(text: string): Readonly<Record<string, Settings>> {
  let parsed: Json;
  try {
    parsed = JSON.parse(text) as Json;
  } catch {
    // The error of JSON.parse quotes the text, which has secrets.
    throw new CmbsError('bad_request', 'The file of CMBS_MODULE_SETTINGS is not JSON.');
  }
  if (!isJsonObject(parsed) || !Object.values(parsed).every(isJsonObject)) {
    throw new CmbsError(
      'bad_request',
      'The file of CMBS_MODULE_SETTINGS must have an object for each module: {"weather":{"key":"…"}}.',
    );
  }
  return parsed as Readonly<Record<string, Settings>>;
}
