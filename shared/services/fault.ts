/**
 * The one catalogue of faults: how a call that failed is told, whatever brought it here. The numbers are JSON-RPC
 * 2.0's (§5.1), which the XML-RPC "faults_interop" list shares, so every front end can use them as they are.
 * Modules number their own faults outside -32768 to -32000.
 */
import type { Json } from '../json';

export const FAULT = {
  /** The bytes do not parse. */
  parseError: -32700,
  /** They parse, and are not a call. */
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  /** The method failed in a way that is not the caller's business; the cause is in the log. */
  internalError: -32603,
  /** The product refused what the method asked of it; `data.code` is the code of `shared/errors.ts`. */
  refused: -32000,
  /** The method did not answer in its time; it may or may not have had its effect. */
  deadlineExceeded: -32001,
  /** The call was cut off in the middle; it may or may not have run, and is not run again. */
  outcomeUnknown: -32002,
} as const;

/** What a method throws to tell its caller something: code, text and data arrive unchanged. */
export class Fault extends Error {
  override readonly name = 'Fault';

  /** `cause` is kept for the log and never shown. Throws `RangeError` for a code that no front end could carry. */
  constructor(
    readonly code: number,
    text: string,
    readonly data?: Json,
    options?: { readonly cause?: unknown },
  ) {
    super(text, options);
    // XML-RPC's int has 32 bits.
    if (!Number.isInteger(code) || Math.abs(code) > 0x7fff_ffff) {
      throw new RangeError(`A fault's code is a 32-bit integer, not ${code}.`);
    }
  }
}
