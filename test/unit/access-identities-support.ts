/** Credentials of test requests. */
import type { Credentials } from '../../shared/access/identities';

export interface Shown {
  readonly authorization?: string | readonly string[];
  readonly headers?: Credentials['headers'];
  readonly from?: string;
  readonly peer?: string;
  readonly signal?: AbortSignal;
}

export function credentials({
  authorization,
  headers = {},
  from = '192.0.2.1',
  peer,
  signal,
}: Shown = {}): Credentials {
  return {
    headers: {
      ...headers,
      ...(authorization === undefined ? {} : { authorization: [authorization].flat() }),
    },
    clientAddress: from,
    peerAddress: peer,
    signal: signal ?? new AbortController().signal,
  };
}

export const basic = (name: string, password: string): string =>
  `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
