/**
 * Faults: how a failed call is reported, in every codec. The codes are those of JSON-RPC 2.0 (§5.1), which the XML-RPC
 * list "faults_interop" shares. Modules use codes outside -32768 to -32000 for their own faults.
 */
import type { Json } from '../json';

/** The codes of faults. */
export const FAULT = {
  /** The bytes do not parse. */
  parseError: -32700,
  /** The bytes parse, but are not a call. */
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  /** The method failed; the cause is in the log only. */
  internalError: -32603,
  /** The product refused the call or an operation of the method; `data.code` is a code of `shared/errors.ts`. */
  refused: -32000,
  /** The method did not answer in time; it may or may not have had its effect. */
  deadlineExceeded: -32001,
  /** The call was interrupted; it may or may not have run, and is not run again. */
  outcomeUnknown: -32002,
} as const;

/** An error for the caller of a method, who gets the code, the text and the data unchanged. */
export class Fault extends Error {
  override readonly name = 'Fault';

  /**
   * @param options `cause` is for the log; the caller never sees it
   * @throws RangeError for a code that does not have 32 bits
   */
  constructor(
    readonly code: number,
    text: string,
    readonly data?: Json,
    options?: { readonly cause?: unknown },
  ) {
    super(text, options);
    // An int of XML-RPC has 32 bits.
    if (!Number.isInteger(code) || Math.abs(code) > 0x7fff_ffff) {
      throw new RangeError(`A fault's code is a 32-bit integer, not ${code}.`);
    }
  }
}
