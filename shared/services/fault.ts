/**
 * Faults: how a failed call is reported, in every codec. The codes are those of JSON-RPC 2.0 (§5.1) and of the XML-RPC
 * list "faults_interop", which agree where both define one. Modules use codes outside -32768 to -32000 for their own
 * faults.
 */
import { isJsonObject, type Json, type JsonObject } from '../json';

/** The codes of faults. */
export const FAULT = {
  /** The bytes do not parse. */
  parseError: -32700,
  /** The encoding of the text is unknown, or is declared in two ways that contradict each other. */
  unsupportedEncoding: -32701,
  /** The bytes are not text in their encoding, or the text has a character that XML 1.0 does not allow. */
  invalidCharacter: -32702,
  /** The bytes parse, but are not a call. */
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  /** The method failed, and the cause is in the log only; or its result cannot be written in the format of the call. */
  internalError: -32603,
  /** An error of a module that has no code of its own. */
  applicationError: -32500,
  systemError: -32400,
  transportError: -32300,
  /** The product refused the call or an operation of the method; `data.code` is a code of `shared/errors.ts`. */
  refused: -32000,
  /** The method did not answer in time; it may or may not have had its effect. */
  deadlineExceeded: -32001,
  /** The call was interrupted; it may or may not have run, and is not run again. */
  outcomeUnknown: -32002,
} as const;

/** The reserved range (JSON-RPC 2.0 §5.1), from the lowest code to the highest. */
export const RESERVED_CODES = { lowest: -32768, highest: -32000 } as const;

/** Codes of the reserved range that a module may use, since they are about its own arguments and errors. */
const MODULE_CODES: ReadonlySet<number> = new Set([FAULT.invalidParams, FAULT.applicationError]);

/** Whether a module may use the code for a fault: any outside the reserved range, -32602 and -32500. */
export const isModuleCode = (code: number): boolean =>
  code < RESERVED_CODES.lowest || code > RESERVED_CODES.highest || MODULE_CODES.has(code);

export interface FaultOptions {
  /** For the log; the caller never sees it. */
  readonly cause?: unknown;
  /** The id under which the log has the cause. The caller sees it, in `data` or in the text. */
  readonly correlationId?: string;
}

/** An error for the caller of a method, who gets the code, the text and the data unchanged. */
export class Fault extends Error {
  override readonly name = 'Fault';
  /** For formats with a place for it: JSON-RPC has one, XML-RPC does not. Includes the correlation id. */
  readonly data: Json | undefined;
  readonly correlationId: string | undefined;

  /** @throws RangeError for a code that does not have 32 bits */
  constructor(
    readonly code: number,
    text: string,
    data?: Json,
    { correlationId, ...options }: FaultOptions = {},
  ) {
    super(text, options);
    // An int of XML-RPC has 32 bits.
    if (!Number.isInteger(code) || Math.abs(code) > 0x7fff_ffff) {
      throw new RangeError(`A fault's code is a 32-bit integer, not ${code}.`);
    }
    this.data = correlationId === undefined ? data : { ...membersOf(data), correlationId };
    this.correlationId = correlationId;
  }
}

function membersOf(data: Json | undefined): JsonObject {
  if (data === undefined) return {};
  return isJsonObject(data) ? data : { data };
}
