/** Calls inside message contents, in the form of JSON-RPC (layers.md, "Receiving"). */
import { ExactNumber, parseExactJson, type ExactJson } from '../exact-json';
import { Fault } from './fault';

export interface Call {
  readonly method: string;
  /** Named parameters arrive as one argument, an object. */
  readonly params: readonly ExactJson[];
  /** As given; absent when the caller gave none. */
  readonly id?: string | number | ExactNumber | null;
  /** Present when the caller says that it speaks version 2.0; the original's time had no such member. */
  readonly jsonrpc?: '2.0';
}

/**
 * The call that a message's content is; undefined for every other content, which is data and no mistake. A string
 * is taken as JSON text, so a value that was parsed already must not be a string that is meant as one.
 */
export function parseCall(content: ExactJson): Call | undefined {
  const value = typeof content === 'string' ? parsed(content) : content;
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
  // Cheaper than parsing every plain text that passes.
  if (!/^\s*\{/.test(text)) return undefined;
  try {
    return parseExactJson(text);
  } catch {
    return undefined; // text that only begins like JSON is data as well
  }
}

/** The answer to a call: `result` or `error`, and what the caller needs to match it (JSON-RPC 2.0 §5). */
export function answerOf(
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
