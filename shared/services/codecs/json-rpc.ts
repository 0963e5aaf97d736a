/** Calls in the form of JSON-RPC 2.0, and of its version 1.0 as the original program used it. */
import { ExactNumber, parseExactJson, type ExactJson } from '../../exact-json';
import type { Call, Codec } from '../codec';
import { Fault } from '../fault';

/** A string is read as JSON text. */
function parseCall(content: ExactJson | Uint8Array): Call | undefined {
  const text = content instanceof Uint8Array ? Buffer.from(content).toString('utf8') : content;
  const value = typeof text === 'string' ? parsed(text) : text;
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

const isObject = (value: unknown): value is Readonly<Record<string, ExactJson>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof ExactNumber);

const isId = (id: ExactJson): id is Exclude<Call['id'], undefined> =>
  id === null || typeof id === 'string' || typeof id === 'number' || id instanceof ExactNumber;

function parsed(text: string): ExactJson | undefined {
  // Most contents are plain text, and need not be parsed.
  if (!/^\s*\{/.test(text)) return undefined;
  try {
    return parseExactJson(text);
  } catch {
    return undefined; // text that only looks like JSON is data
  }
}

/** The answer to a call: `result` or `error`, and what the caller needs to match it (JSON-RPC 2.0 §5). */
function answerOf(
  call: Pick<Call, 'id' | 'jsonrpc'>,
  outcome: ExactJson | Fault,
): Readonly<Record<string, ExactJson>> {
  return {
    ...(call.jsonrpc === undefined ? {} : { jsonrpc: call.jsonrpc }),
    ...(call.id === undefined ? {} : { id: call.id }),
    ...(outcome instanceof Fault ? { error: errorOf(outcome) } : { result: outcome }),
  };
}

function errorOf({ code, message, data }: Fault): ExactJson {
  return { code, message, ...(data === undefined ? {} : { data }) };
}

export const jsonRpc: Codec = { name: 'json-rpc', decode: parseCall, encode: answerOf };
