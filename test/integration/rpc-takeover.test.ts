/** RPC over HTTP while another companion takes the shard over: one more attempt, at the new holder only. */
import { createPrivateKey } from 'node:crypto';
import { ANONYMOUS, systemClock } from '@cmbs/shared';
import type { RpcHandler, RpcMethod, RpcResult } from '@cmbs/shared/rpc';
import { httpRpc } from '@cmbs/shared/rpc/http';
import { newLocalKey } from '@cmbs/shared/rpc/identity';
import { localTokens } from '../../shared/rpc/identity/local';
import type { Control } from '../../companion/control';
import { AUDIENCE, localControl } from '../contract/local-control';
import { PATIENCE_MS } from '../patience';
import { freePort } from './free-port';

const key = createPrivateKey(newLocalKey());
const listening: Control[] = [];
afterEach(async () => {
  for (const control of listening.splice(0)) await control.close();
});

/** A companion that stands by until `serve` is called. */
async function companion(): Promise<Control> {
  const control = await localControl(key);
  listening.push(control);
  return control;
}

/** Counts the calls that reach a companion. */
function counting(): { readonly handler: RpcHandler; readonly calls: () => number } {
  let calls = 0;
  const handler: RpcHandler = {
    handle: <A extends RpcMethod>() => {
      calls += 1;
      return Promise.resolve({} as RpcResult<A>);
    },
  };
  return { handler, calls: () => calls };
}

/** Calls through a directory that names these URLs, one after the other, and the last one again and again. */
function call(...urls: readonly string[]): { readonly outcome: Promise<unknown>; readonly lookups: () => number } {
  let lookups = 0;
  const urlOf = (): Promise<string | undefined> => Promise.resolve(urls[Math.min(lookups++, urls.length - 1)]);
  const directory = { shards: ['only'], shardOf: () => Promise.resolve('only'), urlOf };
  const rpc = httpRpc({ clock: systemClock, tokens: localTokens(key), audience: AUDIENCE, directory });
  const options = { principal: ANONYMOUS, deadlineMs: PATIENCE_MS };
  return { outcome: rpc.call('/cmbs/member/bob', 'release', {}, options), lookups: () => lookups };
}

describe('a call to a companion that has lost its shard', () => {
  it('is repeated once at the companion that holds the shard now', async () => {
    const [before, now] = [await companion(), await companion()];
    const { handler, calls } = counting();
    now.serve(handler);
    const { outcome, lookups } = call(before.url, now.url);
    expect(await outcome).toEqual({});
    expect([calls(), lookups()]).toEqual([1, 2]);
  });

  it('is repeated as well when the process at the earlier address is gone', async () => {
    const now = await companion();
    const { handler, calls } = counting();
    now.serve(handler);
    const { outcome } = call(`http://127.0.0.1:${await freePort()}`, now.url);
    expect(await outcome).toEqual({});
    expect(calls()).toBe(1);
  });

  it('fails while the directory still names the same companion', async () => {
    const { outcome, lookups } = call((await companion()).url);
    await expect(outcome).rejects.toHaveProperty('code', 'unavailable');
    expect(lookups()).toBe(2);
  });

  it('fails when the next companion does not hold the shard either, without a third attempt', async () => {
    const [one, two] = [await companion(), await companion()];
    const { outcome, lookups } = call(one.url, two.url, one.url);
    await expect(outcome).rejects.toHaveProperty('code', 'unavailable');
    expect(lookups()).toBe(2);
  });
});
