/** XML-RPC, with the extensions nil and i8: as a protocol over HTTP, and as a codec of messages. */
import type { Call, Codec } from '../codec';
import { Fault } from '../fault';
import { MULTICALL } from '../multicall';
import type { RpcProtocol } from '../protocol';
import type { Value } from '../value';
import { readCall, READER_LIMITS, type Nil, type ReaderLimits } from './xml-rpc-reader';
import { writeAnswer, writeEntries, type WriterOptions } from './xml-rpc-writer';

export interface XmlRpcOptions {
  /**
   * How to write nil in the answers to calls that contain none: by default a result with nil is a fault then, since a
   * client may not know the extension.
   */
  readonly nil?: Nil;
  readonly limits?: ReaderLimits;
  /** Characters of an answer. */
  readonly maxChars?: number;
}

/** XML-RPC over HTTP. */
export function xmlRpcProtocol({ nil, limits = READER_LIMITS, maxChars }: XmlRpcOptions = {}): RpcProtocol {
  const encoder = new TextEncoder();
  return {
    name: 'xml-rpc',
    mediaType: 'text/xml; charset=utf-8',
    refusal: (fault) => encoder.encode(writeAnswer(fault)),
    read: (body, contentType) => {
      const call = callOrFault(() => readCall(body, contentType, limits));
      return {
        calls: call instanceof Fault ? [] : [call],
        answer: ([outcome]) => {
          if (call instanceof Fault) return encoder.encode(writeAnswer(call));
          if (outcome === undefined) throw new RangeError('There is no outcome of the call.');
          const { value, type } = outcome;
          return encoder.encode(answerTo(call, value, { type, nil: call.nil ?? nil, maxChars }));
        },
      };
    },
  };
}

const answerTo = ({ method }: Call, outcome: Value | Fault, options: WriterOptions): string =>
  method === MULTICALL && Array.isArray(outcome)
    ? writeEntries(outcome as readonly Value[], options)
    : writeAnswer(outcome, options);

function callOrFault(read: () => Call): Call | Fault {
  try {
    return read();
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown;
    throw thrown;
  }
}

/** XML-RPC in messages: a content that is the text of a call. Other XML is data. */
export const xmlRpc: Codec = {
  name: 'xml-rpc',
  decode: (content) => {
    if (typeof content !== 'string' && !(content instanceof Uint8Array)) return undefined;
    // Most contents are no XML; do not parse them.
    if (typeof content === 'string' && !/^\s*</.test(content)) return undefined;
    const call = callOrFault(() => readCall(content));
    return call instanceof Fault ? undefined : call;
  },
  encode: (call, outcome, type) => new TextEncoder().encode(answerTo(call, outcome, { type, nil: call.nil })),
};
