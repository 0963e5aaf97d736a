/**
 * Codecs: the formats in which a call arrives and its outcome goes back. JSON-RPC is built in; a program adds others
 * where it is assembled (docs/extending.md).
 */
import { type ExactJson, type ExactNumber, stringifyExactJson } from '../exact-json';
import type { Fault } from './fault';

export interface Call {
  readonly method: string;
  /** Named parameters arrive as one argument, an object. */
  readonly params: readonly ExactJson[];
  /** As the caller gave it; absent when the caller gave none. */
  readonly id?: string | number | ExactNumber | null;
  /** Present when the caller says that it speaks version 2.0 of JSON-RPC. */
  readonly jsonrpc?: '2.0';
  /** Name of the codec that read the call; absent for JSON-RPC, also in what earlier releases stored. */
  readonly codec?: string;
}

export interface Codec {
  readonly name: string;
  /**
   * Reads a call from the content of a message (JSON) or from a body (bytes).
   * @returns undefined for everything that is not a call of this format: such content is data and no mistake
   */
  decode(content: ExactJson | Uint8Array): Call | undefined;
  /** The answer to a call. Bytes are put into a message as text. */
  encode(call: Call, outcome: ExactJson | Fault): ExactJson | Uint8Array;
}

/** The codecs of a program; the first that reads a call has it. */
export class Codecs {
  readonly #codecs: readonly Codec[];

  /** @throws Error for two codecs of one name */
  constructor(codecs: readonly Codec[]) {
    if (new Set(codecs.map(({ name }) => name)).size < codecs.length)
      throw new Error('Two codecs have the same name.');
    this.#codecs = codecs;
  }

  decode(content: ExactJson | Uint8Array): Call | undefined {
    for (const [at, codec] of this.#codecs.entries()) {
      const call = codec.decode(content);
      // The first codec is the default, which stored calls do not name.
      if (call !== undefined) return at === 0 ? call : { ...call, codec: codec.name };
    }
    return undefined;
  }

  /** The answer in the format of the call, as JSON text. */
  encode(call: Call, outcome: ExactJson | Fault): string {
    const [first] = this.#codecs;
    const codec = this.#codecs.find(({ name }) => name === call.codec) ?? first;
    if (codec === undefined) throw new Error('A program needs at least one codec.');
    const answer = codec.encode(call, outcome);
    return answer instanceof Uint8Array
      ? JSON.stringify(Buffer.from(answer).toString('utf8'))
      : stringifyExactJson(answer);
  }
}
