/** An `OcciResponse` onto Node's response, for both adapters: in pieces, as the client reads them. */
import type { ServerResponse } from 'node:http';
import { nextTurn, type Clock } from '@cmbs/shared';
import type { LargeAnswers } from './large-answers';
import type { OcciResponse } from './request';

/** Characters that are written at a time: about what an operating system takes at once. */
const ANSWER_PIECE_CHARS = 64 * 1024;

// A call and not the property: it changes while a body is awaited.
const isGone = (outgoing: ServerResponse): boolean => outgoing.destroyed;

export interface WriteOptions {
  /** Headers of the connection. */
  readonly extra?: Readonly<Record<string, string>>;
  /** Aborts when the client is gone; asked for by a body in pieces only. */
  readonly waits: { readonly signal: AbortSignal };
  readonly clock: Clock;
  /** Decides how long a client may take that does not read. */
  readonly answers: LargeAnswers;
}

/** Writes and ends; rejects with what a streamed body throws. A client that is gone ends it early. */
export async function writeResponse(
  method: string | undefined,
  outgoing: ServerResponse,
  response: OcciResponse,
  options: WriteOptions,
): Promise<void> {
  try {
    await write(method, outgoing, response, options);
  } finally {
    response.done?.();
  }
}

async function write(
  method: string | undefined,
  outgoing: ServerResponse,
  { status, headers, body }: OcciResponse,
  options: WriteOptions,
): Promise<void> {
  const extra = withVary(headers, options.extra);
  if (isGone(outgoing)) return;
  const isBodiless = status === 204 || status === 304;
  if (body instanceof Uint8Array) {
    const length = isBodiless ? {} : { 'Content-Length': body.byteLength };
    outgoing.writeHead(status, { ...headers, ...length, ...extra });
    outgoing.end(method === 'HEAD' || isBodiless ? undefined : body);
    return;
  }
  if (typeof body === 'string') {
    const length = isBodiless ? {} : { 'Content-Length': Buffer.byteLength(body) };
    outgoing.writeHead(status, { ...headers, ...length, ...extra });
    if (method === 'HEAD' || isBodiless) outgoing.end();
    else if (body.length <= ANSWER_PIECE_CHARS) outgoing.end(body);
    else if (await writePieces(outgoing, slices(body), options)) outgoing.end();
    return;
  }
  outgoing.writeHead(status, { ...headers, ...extra });
  if (method !== 'HEAD' && !isBodiless) {
    outgoing.flushHeaders();
    if (!(await writePieces(outgoing, body, options))) return;
  }
  outgoing.end();
}

/** Two that say of what the answer depends say it together. */
function withVary(
  { Vary: own }: OcciResponse['headers'],
  extra: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  return own === undefined || extra.Vary === undefined ? extra : { ...extra, Vary: `${own}, ${extra.Vary}` };
}

/** False when the client is gone. Others are served after each piece. */
async function writePieces(
  outgoing: ServerResponse,
  pieces: Iterable<string> | AsyncIterable<string>,
  options: WriteOptions,
): Promise<boolean> {
  for await (const piece of pieces) {
    if (isGone(outgoing)) return false;
    if (!outgoing.write(piece)) await drained(outgoing, options);
    await nextTurn();
  }
  return !isGone(outgoing);
}

/** Resolves when the client can take more, or is gone; a client that does not read is dropped. */
function drained(outgoing: ServerResponse, { waits: { signal }, clock, answers }: WriteOptions): Promise<void> {
  return new Promise((resolve) => {
    const { stalledMs, idleMs } = answers.limits;
    const began = clock.now();
    let cancel = (): void => undefined;
    const go = (): void => {
      cancel();
      outgoing.off('drain', go);
      outgoing.off('close', go);
      signal.removeEventListener('abort', go);
      resolve();
    };
    const look = (): void => {
      if (answers.isContended || clock.now() - began >= idleMs) outgoing.destroy();
      else cancel = clock.after(stalledMs, look);
    };
    cancel = clock.after(stalledMs, look);
    outgoing.once('drain', go);
    outgoing.once('close', go);
    // A response that waits behind another on its connection is not told that the connection closed.
    signal.addEventListener('abort', go, { once: true });
    if (signal.aborted || isGone(outgoing)) go();
  });
}

function* slices(text: string): Iterable<string> {
  for (let from = 0; from < text.length;) {
    let to = Math.min(text.length, from + ANSWER_PIECE_CHARS);
    // Half of a surrogate pair is no character.
    if (to < text.length && isHighSurrogate(text.charCodeAt(to - 1))) to -= 1;
    yield text.slice(from, to);
    from = to;
  }
}

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;

/** Short texts joined into pieces that are worth a write. */
export function* inPieces(texts: Iterable<string>): Iterable<string> {
  let piece = '';
  for (const text of texts) {
    piece += text;
    if (piece.length < ANSWER_PIECE_CHARS) continue;
    yield* slices(piece);
    piece = '';
  }
  if (piece !== '') yield piece;
}
