import type { Settings } from './read';
import { SETTINGS } from './settings';

/** The lines of `--help`: the name, the meaning and the default of each setting. */
export function settingsHelp(settings: Settings = SETTINGS): string {
  return Object.entries(settings)
    .map(
      ([name, { fallback, help }]) =>
        `  ${name.padEnd(25)} ${help}${fallback === undefined || fallback === '' ? '' : ` (default ${fallback})`}`,
    )
    .join('\n');
}
