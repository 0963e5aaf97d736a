/** JSON-RPC 2.0 over HTTP, with batches and notifications; calls of JSON-RPC 1.0 too. */
import { type ExactJson, parseExactJson, stringifyExactJson } from '../../exact-json';
import { nestsWithin } from '../../json-depth';
import { MAX_JSON_DEPTH } from '../../limits';
import type { Call } from '../codec';
import { Fault, FAULT } from '../fault';
import type { Outcome, RpcProtocol, RpcRequest } from '../protocol';
import { MAX_ANSWER_CHARS, unwritable } from '../value';
import { answerOf, callOf, isId, isObject } from './json-rpc';

/** Calls of a batch: enough for what a page loads, and few enough to be tried one after the other. */
const MAX_BATCH_CALLS = 1000;
/** Bytes of a body, as for XML-RPC. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;

export interface JsonRpcOptions {
  readonly maxBatchCalls?: number;
  readonly maxBytes?: number;
  /** Characters of all answers of a request. */
  readonly maxChars?: number;
}

/** Names that JSON-RPC 2.0 §4.3 reserves for extensions of the protocol, such as `rpc.discover`: no module has them. */
export const isReservedMethod = (method: string): boolean => method.startsWith('rpc.');

/** Whether a call gets no answer: one of version 2.0 without id. Calls of version 1.0 are always answered. */
export const isNotification = ({ id, jsonrpc }: Pick<Call, 'id' | 'jsonrpc'>): boolean =>
  jsonrpc !== undefined && id === undefined;

interface Refused {
  readonly refused: Readonly<Record<string, ExactJson>>;
}

/** A call, or the answer to what is none. */
type Entry = Call | Refused;

/** JSON-RPC over HTTP. */
export function jsonRpcProtocol({
  maxBatchCalls = MAX_BATCH_CALLS,
  maxBytes = MAX_BODY_BYTES,
  maxChars = MAX_ANSWER_CHARS,
}: JsonRpcOptions = {}): RpcProtocol {
  return {
    name: 'json-rpc',
    mediaType: 'application/json',
    refusal: (fault) => Buffer.from(stringifyExactJson(refusal(fault).refused)),
    read: (body) => {
      const value = parsed(body, maxBytes);
      if (value instanceof Fault) return requestOf([refusal(value)], false, maxChars);
      if (!Array.isArray(value)) return requestOf([entryOf(value)], false, maxChars);
      const batch = value as readonly ExactJson[];
      const wrong = batchFault(batch.length, maxBatchCalls);
      return wrong === undefined
        ? requestOf(batch.map(entryOf), true, maxChars)
        : requestOf([refusal(wrong)], false, maxChars);
    },
  };
}

function parsed(body: Uint8Array, maxBytes: number): ExactJson | Fault {
  if (body.length > maxBytes) return new Fault(FAULT.invalidRequest, `A request has at most ${maxBytes} bytes.`);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    return new Fault(FAULT.parseError, 'The body is no text in UTF-8.');
  }
  if (!nestsWithin(text, MAX_JSON_DEPTH)) {
    return new Fault(
      FAULT.invalidRequest,
      `The JSON is nested deeper than ${MAX_JSON_DEPTH} levels; send it flatter.`,
    );
  }
  try {
    return parseExactJson(text);
  } catch {
    return new Fault(FAULT.parseError, 'The body is no JSON.');
  }
}

function batchFault(count: number, most: number): Fault | undefined {
  if (count === 0) return new Fault(FAULT.invalidRequest, 'A batch has at least one call.');
  if (count > most)
    return new Fault(FAULT.invalidRequest, `A batch has at most ${most} calls; send several batches.`);
  return undefined;
}

function entryOf(value: ExactJson): Entry {
  const call = callOf(value);
  if (call !== undefined) return call;
  const id = isObject(value) && isId(value.id) ? value.id : null;
  const text = 'A call is an object with a method, params that are an array or an object, and an id.';
  return refusal(new Fault(FAULT.invalidRequest, text), id);
}

const refusal = (fault: Fault, id: Call['id'] = null): Refused => ({
  refused: answerOf({ jsonrpc: '2.0', id }, fault),
});

function requestOf(entries: readonly Entry[], isBatch: boolean, maxChars: number): RpcRequest {
  const calls = entries.filter((entry) => 'method' in entry);
  return {
    calls,
    answer: (outcomes) => {
      if (outcomes.length !== calls.length) throw new RangeError('There is one outcome for each call.');
      const texts = answersTo(entries, outcomes, maxChars);
      if (texts.length === 0) return undefined;
      return Buffer.from(isBatch ? `[${texts.join(',')}]` : texts.join(''));
    },
  };
}

/** The answers as JSON text. Results that do not fit any more are faults, so that the others can be read. */
function answersTo(entries: readonly Entry[], outcomes: readonly Outcome[], maxChars: number): string[] {
  let left = maxChars;
  let next = 0;
  const texts: string[] = [];
  for (const entry of entries) {
    if ('refused' in entry) {
      texts.push(stringifyExactJson(entry.refused));
      continue;
    }
    const outcome = outcomes[next++];
    if (outcome === undefined || isNotification(entry)) continue;
    let text = stringifyExactJson(answerOf(entry, outcome.value));
    if (text.length > left) {
      const tooLarge = unwritable(`the answer has more than ${maxChars} characters with it`);
      text = stringifyExactJson(answerOf(entry, tooLarge));
    }
    left -= text.length;
    texts.push(text);
  }
  return texts;
}
