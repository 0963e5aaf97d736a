/** Writes an `OcciResponse` to Node's response, for both adapters, in pieces as the client reads them. */
import type { ServerResponse } from 'node:http';
import { nextTurn, type Clock } from '@cmbs/shared';
import type { LargeAnswers } from './large-answers';
import type { OcciResponse } from './request';

/** Characters of one write: about what the send buffer of a connection holds. */
const ANSWER_PIECE_CHARS = 64 * 1024;

// A function call, so that the compiler does not assume that the value stays the same across an await.
const isGone = (outgoing: ServerResponse): boolean => outgoing.destroyed;

export interface WriteOptions {
  /** Headers that the adapter adds. */
  readonly extra?: Readonly<Record<string, string>>;
  /** Aborts when the client is gone. A getter may make the signal: only bodies in pieces need it. */
  readonly waits: { readonly signal: AbortSignal };
  readonly clock: Clock;
  /** Limits how long a client may leave a piece unread. */
  readonly answers: LargeAnswers;
}

/** Writes the response and ends it; stops early when the client is gone. Rejects with the error of a streamed body. */
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

/** Joins the `Vary` of the answer with that of the adapter. */
function withVary(
  { Vary: own }: OcciResponse['headers'],
  extra: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  return own === undefined || extra.Vary === undefined ? extra : { ...extra, Vary: `${own}, ${extra.Vary}` };
}

/** False when the client is gone. Other requests are served after each piece. */
async function writePieces(
  outgoing: ServerResponse,
  pieces: Iterable<string> | AsyncIterable<string | Uint8Array>,
  options: WriteOptions,
): Promise<boolean> {
  for await (const piece of pieces) {
    if (isGone(outgoing)) return false;
    if (!outgoing.write(piece)) await drained(outgoing, options);
    await nextTurn();
  }
  return !isGone(outgoing);
}

/** Resolves when the client can take more, or is gone. Disconnects a client that does not read. */
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
    // A response that waits behind another one on its connection gets no event when the connection closes.
    signal.addEventListener('abort', go, { once: true });
    if (signal.aborted || isGone(outgoing)) go();
  });
}

function* slices(text: string): Iterable<string> {
  for (let from = 0; from < text.length;) {
    let to = Math.min(text.length, from + ANSWER_PIECE_CHARS);
    // A surrogate pair must stay in one piece.
    if (to < text.length && isHighSurrogate(text.charCodeAt(to - 1))) to -= 1;
    yield text.slice(from, to);
    from = to;
  }
}

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;

/** Joins short texts into pieces of the size of one write. */
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
