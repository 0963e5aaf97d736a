/** Terms and attribute names in the text renderings. */
import { percentEncode } from '../urls';

/** Printable ASCII without space, quote, angle brackets, comma, percent, semicolon, equals sign, backslash and braces. */
const PLAIN_NAME = /^[!#$&-+\--:?-[\]-z|~]*$/;

/**
 * Writes a term or an attribute name. OCCI's own names stay as they are. Characters that the text syntax uses are
 * percent-encoded, so that a name defined through JSON cannot break the text of other items.
 */
export function writeName(name: string): string {
  return PLAIN_NAME.test(name) ? name : percentEncode(name, PLAIN_NAME);
}

/** Reads a name that {@link writeName} wrote. */
export function readName(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    // The percent signs encode nothing, so they belong to the name.
    return text;
  }
}
