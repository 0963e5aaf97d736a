/** Fetches a JSON document of bounded size. */

export type Fetch = typeof globalThis.fetch;

export interface FetchJsonOptions {
  readonly fetch: Fetch;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/** @throws Error when the answer is not 200, is a redirect, is too large, or is not JSON */
export async function fetchJson(url: string, { fetch, maxBytes, signal }: FetchJsonOptions): Promise<unknown> {
  // A redirect could lead to a server that the operator does not trust.
  const response = await fetch(url, { headers: { Accept: 'application/json' }, redirect: 'error', signal });
  if (response.status !== 200 || response.body === null) {
    await response.body?.cancel();
    throw new Error(`${url} answered ${response.status}.`);
  }
  const reader = response.body.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    // Counted after decompression.
    size += part.value.byteLength;
    if (size > maxBytes) {
      await reader.cancel();
      throw new Error(`${url} answered more than ${maxBytes} bytes.`);
    }
    chunks.push(part.value);
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
}
