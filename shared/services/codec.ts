/** Codecs: the formats of calls and their answers. JSON-RPC is built in; a program can add others (docs/extending.md). */
import { type ExactJson, type ExactNumber, stringifyExactJson } from '../exact-json';
import type { Fault } from './fault';
import type { Value } from './value';

/** A call of a service method. */
export interface Call {
  readonly method: string;
  /** Named parameters arrive as one argument, an object. */
  readonly params: readonly Value[];
  /** The caller's id of the call; absent when the call has none. */
  readonly id?: string | number | ExactNumber | null;
  /** Present for a call of JSON-RPC 2.0. */
  readonly jsonrpc?: '2.0';
  /** Present for a call of XML-RPC that contains nil: how its client spells nil, which an answer may contain then. */
  readonly nil?: 'nil' | 'ex:nil';
  /** Name of the codec that read the call; absent for JSON-RPC, and in calls that earlier releases stored. */
  readonly codec?: string;
}

/** One format of calls and answers. */
export interface Codec {
  readonly name: string;
  /**
   * Reads a call from the content of a message (JSON) or from a body (bytes).
   * @returns undefined for content that is not a call in this format, which is data and no error
   */
  decode(content: ExactJson | Uint8Array): Call | undefined;
  /**
   * Writes the answer to a call. A message holds bytes as text in UTF-8.
   * @param type of the result, from the signature of the method
   */
  encode(call: Call, outcome: Value | Fault, type?: string): ExactJson | Uint8Array;
}

/** The codecs of a program, in the order in which they try to read a call. */
export class Codecs {
  readonly #codecs: readonly Codec[];

  /** @throws Error for two codecs of one name */
  constructor(codecs: readonly Codec[]) {
    if (new Set(codecs.map(({ name }) => name)).size < codecs.length)
      throw new Error('Two codecs have the same name.');
    this.#codecs = codecs;
  }

  /** The call of the first codec that reads the content; undefined when none does. */
  decode(content: ExactJson | Uint8Array): Call | undefined {
    for (const [at, codec] of this.#codecs.entries()) {
      const call = codec.decode(content);
      // A stored call does not name the first codec, which is the default.
      if (call !== undefined) return at === 0 ? call : { ...call, codec: codec.name };
    }
    return undefined;
  }

  /** The answer in the format of the call, as JSON text. */
  encode(call: Call, outcome: Value | Fault, type?: string): string {
    const [first] = this.#codecs;
    const codec = this.#codecs.find(({ name }) => name === call.codec) ?? first;
    if (codec === undefined) throw new Error('A program needs at least one codec.');
    const answer = codec.encode(call, outcome, type);
    return answer instanceof Uint8Array
      ? JSON.stringify(Buffer.from(answer).toString('utf8'))
      : stringifyExactJson(answer);
  }
}
