/** An `OcciResponse` onto Node's response, for both adapters. */
import type { ServerResponse } from 'node:http';
import type { OcciResponse } from './request';

/** Resolves when the client can take more, or is gone. */
function drained(outgoing: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      outgoing.off('drain', go);
      outgoing.off('close', go);
      signal.removeEventListener('abort', go);
      resolve();
    };
    outgoing.once('drain', go);
    outgoing.once('close', go);
    // A response that waits behind another on its connection is not told that the connection closed.
    signal.addEventListener('abort', go, { once: true });
    if (signal.aborted) go();
  });
}

// A call and not the property: it changes while a body is awaited.
const isGone = (outgoing: ServerResponse): boolean => outgoing.destroyed;

export interface WriteOptions {
  /** Headers of the connection. */
  readonly extra?: Readonly<Record<string, string>>;
  /** Aborts when the client is gone; asked for by a streamed body only. */
  readonly waits: { readonly signal: AbortSignal };
}

/** Writes and ends; rejects with what a streamed body throws. A client that is gone ends it early. */
export async function writeResponse(
  method: string | undefined,
  outgoing: ServerResponse,
  { status, headers, body }: OcciResponse,
  { extra = {}, waits }: WriteOptions,
): Promise<void> {
  if (isGone(outgoing)) return;
  const hasBody = status !== 204 && status !== 304;
  if (typeof body === 'string') {
    const length = hasBody ? { 'Content-Length': Buffer.byteLength(body) } : {};
    outgoing.writeHead(status, { ...headers, ...length, ...extra });
    outgoing.end(method === 'HEAD' || !hasBody ? undefined : body);
    return;
  }
  outgoing.writeHead(status, { ...headers, ...extra });
  if (method !== 'HEAD' && hasBody) {
    outgoing.flushHeaders();
    for await (const part of body) {
      if (isGone(outgoing)) return;
      if (!outgoing.write(part)) await drained(outgoing, waits.signal);
    }
  }
  outgoing.end();
}
