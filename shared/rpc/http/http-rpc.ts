/**
 * RPC over HTTP, from a function to the companion that holds the member's shard. The {@link CompanionDirectory} names
 * the companion; it is asked again when the companion does not answer or no longer holds the shard.
 */
import { z } from 'zod';
import type { Clock } from '../../clock';
import { CATALOGUE, CmbsError, type ErrorCode } from '../../errors';
import type { JsonObject } from '../../json';
import type { IdentityTokens } from '../tokens';
import {
  COMPANION_UNREACHABLE,
  DEADLINE_HEADER,
  RPC_ARGUMENTS,
  RPC_RESULTS,
  RPC_PATH,
  type Rpc,
  type RpcMethod,
  type RpcArguments,
  type RpcOptions,
  type RpcResult,
} from '../rpc';

/** Milliseconds for which a function trusts a lease that it has read; a call that fails reads the lease again. */
const LEASE_CACHE_MS = 30_000;
/** Milliseconds in which a companion must answer whether it is ready. */
const READY_MS = 3000;

const resultBody = z.strictObject({ reply: z.unknown() });
const errorBody = z.looseObject({
  error: z.looseObject({
    code: z.string(),
    message: z.string().max(4096),
    details: z.record(z.string(), z.unknown()).optional(),
  }),
});

/** Finds the companion that holds a member's sockets. */
export interface CompanionDirectory {
  /** Names of all shards. */
  readonly shards: readonly string[];
  /** Name of the shard that a member belongs to. */
  shardOf(member: string, signal: AbortSignal): Promise<string>;
  /** Base URL of the companion that holds a shard; undefined while none does. */
  urlOf(shard: string, signal: AbortSignal): Promise<string | undefined>;
}

export interface HttpRpcOptions {
  readonly clock: Clock;
  readonly tokens: IdentityTokens;
  /** Audience of the tokens, as companions expect it. */
  readonly audience: string;
  readonly directory: CompanionDirectory;
  /** Milliseconds in which a companion must answer whether it is ready; 3,000 by default. */
  readonly readyMs?: number;
}

export interface HttpRpc extends Rpc {
  /**
   * Resolves when every shard has a companion that is ready.
   *
   * @throws CmbsError `unavailable`
   */
  ready(): Promise<void>;
}

interface Lookup {
  /** Reads the lease even when it is cached. */
  readonly again: boolean;
  readonly signal: AbortSignal;
}

interface Known {
  readonly url: string;
  readonly since: number;
}

export function httpRpc(options: HttpRpcOptions): HttpRpc {
  const { clock, tokens, audience, directory, readyMs = READY_MS } = options;
  const known = new Map<string, Known>();

  const unreachable = (cause?: unknown): CmbsError =>
    new CmbsError('unavailable', COMPANION_UNREACHABLE, { cause });

  async function urlOf(shard: string, { again, signal }: Lookup): Promise<string> {
    const cached = known.get(shard);
    if (cached !== undefined && !again && clock.now() - cached.since < LEASE_CACHE_MS) return cached.url;
    const url = await directory.urlOf(shard, signal);
    if (url === undefined) {
      known.delete(shard);
      throw unreachable();
    }
    known.set(shard, { url, since: clock.now() });
    return url;
  }

  async function ask<A extends RpcMethod>(
    url: string,
    body: string,
    action: A,
    deadlineMs: number,
    signal: AbortSignal,
    trace: string | undefined,
  ): Promise<RpcResult<A>> {
    const response = await fetch(url + RPC_PATH, {
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
    if (response.ok) return RPC_RESULTS[action].parse(resultBody.parse(answer).reply) as RpcResult<A>;
    if ([401, 403, 421].includes(response.status)) {
      // The identity of the function or its URL of the companion is wrong, and not the request.
      throw new CmbsError(
        'unavailable',
        'The companion does not accept calls of this function; give both the same settings (CMBS_CONTROL_…).',
        { cause: errorOf(answer) },
      );
    }
    throw errorOf(answer);
  }

  return {
    async call<A extends RpcMethod>(
      member: string,
      action: A,
      args: RpcArguments<A>,
      { principal, deadlineMs, signal, trace }: RpcOptions,
    ): Promise<RpcResult<A>> {
      const body = JSON.stringify({ member, action, args: RPC_ARGUMENTS[action].parse(args), principal });
      const deadline = new AbortController();
      const end = clock.now() + deadlineMs;
      const cancel = clock.after(deadlineMs, () => deadline.abort());
      const both = signal === undefined ? deadline.signal : AbortSignal.any([deadline.signal, signal]);
      try {
        const shard = await directory.shardOf(member, both);
        let url = await urlOf(shard, { again: false, signal: both });
        for (let again = false; ; again = true) {
          try {
            return await ask(url, body, action, Math.max(1, end - clock.now()), both, trace);
          } catch (error) {
            if (both.aborted)
              throw new CmbsError(
                'deadline_exceeded',
                'The companion did not answer in time; read the entity to see the outcome.',
              );
            // Unreachable, or without the shard: another companion may have taken the lease over.
            const isElsewhere = error instanceof CmbsError ? error.details?.standby === true : isUnreached(error);
            if (isElsewhere && !again) {
              const earlier = url;
              url = await urlOf(shard, { again: true, signal: both });
              if (url !== earlier) continue;
            }
            if (error instanceof CmbsError) throw error;
            if (isUnreached(error)) throw unreachable(error);
            throw new CmbsError(
              'deadline_exceeded',
              'The connection to the companion broke before the answer, outcome unknown; read the entity to see the outcome.',
              { cause: error },
            );
          }
        }
      } finally {
        cancel();
      }
    },

    async ready() {
      await Promise.all(
        directory.shards.map(async (name) => {
          const signal = AbortSignal.timeout(readyMs);
          const url = await urlOf(name, { again: true, signal });
          try {
            const response = await fetch(`${url}/readyz`, { signal });
            await response.body?.cancel();
            if (!response.ok) throw unreachable();
          } catch (error) {
            throw error instanceof CmbsError ? error : unreachable(error);
          }
        }),
      );
    },
  };
}

/** The request did not reach the companion: `fetch` names the failure of the connection as its cause. */
function isUnreached(error: unknown): boolean {
  const { cause } = error as { readonly cause?: { readonly code?: string } };
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
  const parsed = errorBody.safeParse(answer);
  if (!parsed.success)
    return new CmbsError(
      'unavailable',
      'The companion answered in an unknown form; deploy the functions and the companion in the same release.',
    );
  const { code, message, details } = parsed.data.error;
  const isKnown = Object.hasOwn(CATALOGUE, code);
  return new CmbsError(isKnown ? (code as ErrorCode) : 'internal', message, {
    ...(details === undefined ? {} : { details: details as JsonObject }),
  });
}
