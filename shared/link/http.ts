/**
 * The link over HTTP: from functions to the companion that holds the member's shard. Where that is stands in the
 * shard's lease, which is read again when nobody answers there or it is not the holder any more.
 */
import { z } from 'zod';
import { readLease } from '../broker/lease';
import { readEntity } from '../occi/entity-store';
import type { Shards } from '../broker/shards';
import type { Clock } from '../clock';
import { CATALOGUE, CmbsError, type ErrorCode } from '../errors';
import type { JsonObject } from '../json';
import { LEASE_CACHE_MS, LINK_PING_MS } from '../limits';
import type { Store } from '../store/store';
import type { IdentityTokens } from './identity';
import {
  AWAY,
  DEADLINE_HEADER,
  LINK_ARGUMENTS,
  LINK_REPLIES,
  PERFORM,
  type Link,
  type LinkAction,
  type LinkArguments,
  type LinkOptions,
  type LinkReply,
} from './link';

const performAnswer = z.strictObject({ reply: z.unknown() });
const errorAnswer = z.looseObject({
  error: z.looseObject({
    code: z.string(),
    message: z.string().max(4096),
    details: z.record(z.string(), z.unknown()).optional(),
  }),
});

export interface HttpLinkOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly tokens: IdentityTokens;
  /** Audience of the tokens, which companions expect. */
  readonly audience: string;
  readonly shards: Shards;
}

export interface HttpLink extends Link {
  /** Resolves when a companion holds each shard and answers; rejects with `unavailable`. */
  ready(): Promise<void>;
}

interface Look {
  /** What is remembered does not count. */
  readonly again: boolean;
  readonly signal: AbortSignal;
}

interface Known {
  readonly url: string;
  readonly since: number;
}

export function httpLink(options: HttpLinkOptions): HttpLink {
  const { store, clock, tokens, audience, shards } = options;
  const known = new Map<string, Known>();

  const away = (cause?: unknown): CmbsError => new CmbsError('unavailable', AWAY, { cause });

  /** The store's reads end with the call that they are for. */
  const within = (signal: AbortSignal): Pick<Store, 'get' | 'getAll'> => ({
    get: (collection, id) => store.get(collection, id, { signal }),
    getAll: (collection, ids) => store.getAll(collection, ids, { signal }),
  });

  async function shardOf(member: string, signal: AbortSignal): Promise<string> {
    if (shards.all.length === 1) return shards.all[0].name;
    const stored = await readEntity(within(signal), member);
    return (stored === undefined ? shards.all[0] : shards.of(stored.entity)).name;
  }

  async function urlOf(shard: string, { again, signal }: Look): Promise<string> {
    const cached = known.get(shard);
    if (cached !== undefined && !again && clock.now() - cached.since < LEASE_CACHE_MS) return cached.url;
    const lease = await readLease(within(signal), shard);
    if (lease === undefined) {
      known.delete(shard);
      throw away();
    }
    known.set(shard, { url: lease.url, since: clock.now() });
    return lease.url;
  }

  async function ask<A extends LinkAction>(
    url: string,
    body: string,
    action: A,
    deadlineMs: number,
    signal: AbortSignal,
    trace: string | undefined,
  ): Promise<LinkReply<A>> {
    const response = await fetch(url + PERFORM, {
      method: 'POST',
      headers: {
        ...(trace === undefined ? {} : { traceparent: trace }),
        'Content-Type': 'application/json',
        Authorization: `Bearer ${await tokens.tokenFor(audience)}`,
        [DEADLINE_HEADER]: String(deadlineMs),
      },
      body,
      signal,
      redirect: 'error',
    });
    const answer: unknown = await response.json();
    if (response.ok) return LINK_REPLIES[action].parse(performAnswer.parse(answer).reply) as LinkReply<A>;
    if ([401, 403, 421].includes(response.status)) {
      // Not what the caller asked for is at fault, but our identity, or the name that we call the companion by.
      throw new CmbsError(
        'unavailable',
        'The companion does not accept calls of this function; their settings differ.',
        { cause: errorOf(answer) },
      );
    }
    throw errorOf(answer);
  }

  return {
    async perform<A extends LinkAction>(
      member: string,
      action: A,
      args: LinkArguments<A>,
      { deadlineMs, signal, trace }: LinkOptions,
    ): Promise<LinkReply<A>> {
      const body = JSON.stringify({ member, action, args: LINK_ARGUMENTS[action].parse(args) });
      const deadline = new AbortController();
      const end = clock.now() + deadlineMs;
      const cancel = clock.after(deadlineMs, () => deadline.abort());
      const both = signal === undefined ? deadline.signal : AbortSignal.any([deadline.signal, signal]);
      try {
        const shard = await shardOf(member, both);
        for (let again = false; ; again = true) {
          const url = await urlOf(shard, { again, signal: both });
          try {
            return await ask(url, body, action, Math.max(1, end - clock.now()), both, trace);
          } catch (error) {
            if (both.aborted) throw new CmbsError('deadline_exceeded', 'The companion did not answer in time.');
            // Not reached, or not the one: the lease may have changed hands since it was read.
            const isElsewhere = error instanceof CmbsError ? error.details?.standby === true : isUnreached(error);
            if (isElsewhere && !again && (await urlOf(shard, { again: true, signal: both })) !== url) continue;
            if (error instanceof CmbsError) throw error;
            if (isUnreached(error)) throw away(error);
            throw new CmbsError(
              'deadline_exceeded',
              'The companion was cut off before it answered: outcome unknown.',
              {
                cause: error,
              },
            );
          }
        }
      } finally {
        cancel();
      }
    },

    async ready() {
      await Promise.all(
        shards.all.map(async ({ name }) => {
          const signal = AbortSignal.timeout(LINK_PING_MS);
          const url = await urlOf(name, { again: true, signal });
          try {
            const response = await fetch(`${url}/readyz`, { signal });
            await response.body?.cancel();
            if (!response.ok) throw away();
          } catch (error) {
            throw error instanceof CmbsError ? error : away(error);
          }
        }),
      );
    },
  };
}

/** No byte of the request can have been acted on. */
function isUnreached(error: unknown): boolean {
  const cause = error instanceof TypeError ? (error.cause as { readonly code?: string } | undefined) : undefined;
  return cause?.code !== undefined && NOT_CONNECTED.has(cause.code);
}

const NOT_CONNECTED: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
]);

function errorOf(answer: unknown): CmbsError {
  const parsed = errorAnswer.safeParse(answer);
  if (!parsed.success) return new CmbsError('unavailable', 'The companion gave no answer that is known here.');
  const { code, message, details } = parsed.data.error;
  const isKnown = Object.hasOwn(CATALOGUE, code);
  return new CmbsError(isKnown ? (code as ErrorCode) : 'internal', message, {
    ...(details === undefined ? {} : { details: details as JsonObject }),
  });
}
