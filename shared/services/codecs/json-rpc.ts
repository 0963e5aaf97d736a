/** Single calls of JSON-RPC 2.0, and of JSON-RPC 1.0 as pyCMBS and Clarens write them. */
import { ExactNumber, parseExactJson, type ExactJson } from '../../exact-json';
import type { Call, Codec } from '../codec';
import { Fault } from '../fault';
import { jsonOf, type Value } from '../value';

/** The call that a JSON value is; undefined for another value. */
export function callOf(value: ExactJson | undefined): Call | undefined {
  if (!isObject(value)) return undefined;
  const { method, params, id, jsonrpc } = value;
  if (typeof method !== 'string') return undefined;
  if (params !== undefined && !Array.isArray(params) && !isObject(params)) return undefined;
  if (id !== undefined && !isId(id)) return undefined;
  if (jsonrpc !== undefined && jsonrpc !== '2.0') return undefined;
  return {
    method,
    params: params === undefined ? [] : Array.isArray(params) ? (params as readonly ExactJson[]) : [params],
    ...(id === undefined ? {} : { id }),
    ...(jsonrpc === undefined ? {} : { jsonrpc }),
  };
}

export const isObject = (value: unknown): value is Readonly<Record<string, ExactJson>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof ExactNumber);

export const isId = (id: ExactJson | undefined): id is Exclude<Call['id'], undefined> =>
  id === null || typeof id === 'string' || typeof id === 'number' || id instanceof ExactNumber;

/** A string may be JSON text. */
function parseCall(content: ExactJson | Uint8Array): Call | undefined {
  const text = content instanceof Uint8Array ? Buffer.from(content).toString('utf8') : content;
  return callOf(typeof text === 'string' ? parsed(text) : text);
}

function parsed(text: string): ExactJson | undefined {
  // Most contents are plain text; do not parse them.
  if (!/^\s*\{/.test(text)) return undefined;
  try {
    return parseExactJson(text);
  } catch {
    return undefined; // text that looks like JSON but is not is data
  }
}

/** The answer to a call: `result` or `error`, and the `id` by which the caller matches it (JSON-RPC 2.0 §5). */
export function answerOf(
  call: Pick<Call, 'id' | 'jsonrpc'>,
  outcome: Value | Fault,
): Readonly<Record<string, ExactJson>> {
  return {
    ...(call.jsonrpc === undefined ? {} : { jsonrpc: call.jsonrpc }),
    ...(call.id === undefined ? {} : { id: call.id }),
    ...resultOf(outcome),
  };
}

function resultOf(outcome: Value | Fault): Readonly<Record<string, ExactJson>> {
  if (outcome instanceof Fault) return { error: errorOf(outcome) };
  try {
    return { result: jsonOf(outcome) };
  } catch (thrown) {
    if (thrown instanceof Fault) return { error: errorOf(thrown) };
    throw thrown;
  }
}

/** Data that JSON cannot carry is left out: a fault itself can always be written. */
function errorOf({ code, message, data }: Fault): ExactJson {
  if (data === undefined) return { code, message };
  try {
    return { code, message, data: jsonOf(data) };
  } catch (thrown) {
    if (thrown instanceof Fault) return { code, message };
    throw thrown;
  }
}

/** The built-in codec. */
export const jsonRpc: Codec = { name: 'json-rpc', decode: parseCall, encode: answerOf };
