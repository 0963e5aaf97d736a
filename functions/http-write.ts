/** An `OcciResponse` onto Node's response, for both adapters. */
import type { ServerResponse } from 'node:http';
import type { OcciResponse } from './request';

/** Resolves when the client can take more, or is gone. */
function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      outgoing.off('drain', go);
      outgoing.off('close', go);
      resolve();
    };
    outgoing.once('drain', go);
    outgoing.once('close', go);
  });
}

// A call and not the property: it changes while a body is awaited.
const isGone = (outgoing: ServerResponse): boolean => outgoing.destroyed;

/** Writes and ends; rejects with what a streamed body throws. A client that is gone ends it early. */
export async function writeResponse(
  method: string | undefined,
  outgoing: ServerResponse,
  { status, headers, body }: OcciResponse,
  extra: Readonly<Record<string, string>> = {},
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
      if (!outgoing.write(part)) await drained(outgoing);
    }
  }
  outgoing.end();
}
