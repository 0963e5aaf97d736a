/** Errors about device objects and their formats. */
import { MAX_SHOWN_NAME_LENGTH } from '../limits';

/** An object is not valid: a value is of the wrong type or out of range, a name is malformed, a tree is too large. */
export class DeviceObjectError extends Error {
  override readonly name = 'DeviceObjectError';
}

/** Bytes are not in a format, or a format cannot carry an object. The only error of parsers and renderers. */
export class DeviceFormatError extends Error {
  override readonly name = 'DeviceFormatError';

  /** @param format the name of the format, such as `obix-xml` */
  constructor(
    readonly format: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Text from outside, as an error shows it. */
export const shown = (text: string): string => JSON.stringify(text.slice(0, MAX_SHOWN_NAME_LENGTH));
