/**
 * Protocols: requests as they arrive over HTTP, with one call or a batch, and every error answered in the format of the
 * request. They stand above the codecs, which read the single calls of messages.
 */
import type { Call } from './codec';
import type { Fault } from './fault';
import type { Value } from './value';

/** What came of a call. */
export interface Outcome {
  readonly value: Value | Fault;
  /** Type of the result, from the signature of the method, such as `double`. */
  readonly type?: string;
}

/** A request that has been read. */
export interface RpcRequest {
  /** The calls to run, in order. What is no call is not among them; its fault is in the answer. */
  readonly calls: readonly Call[];
  /**
   * The body of the response.
   * @param outcomes one for each of `calls`, in order
   * @returns undefined when there is nothing to answer, since all calls are notifications
   */
  answer(outcomes: readonly Outcome[]): Uint8Array | undefined;
}

/** A protocol of remote calls. */
export interface RpcProtocol {
  readonly name: string;
  /** The media type of answers. */
  readonly mediaType: string;
  /** Reads a request. Never throws: a body that is malformed is a request without calls, whose answer is the fault. */
  read(body: Uint8Array, contentType?: string): RpcRequest;
  /** The body for a request that is refused before it is read. */
  refusal(fault: Fault): Uint8Array;
}
