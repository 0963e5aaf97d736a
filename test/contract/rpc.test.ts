/** RPC in one process, and over HTTP on loopback with a companion's control endpoint. */
import { createPrivateKey } from 'node:crypto';
import { systemClock } from '@cmbs/shared';
import type { RpcHandler } from '@cmbs/shared/rpc';
import { httpRpc } from '@cmbs/shared/rpc/http';
import { newLocalKey } from '@cmbs/shared/rpc/identity';
import { inProcessRpc } from '@cmbs/shared/rpc/in-process';
import { localTokens } from '../../shared/rpc/identity/local';
import { AUDIENCE, localControl } from './local-control';
import { rpcContract } from './rpc-contract';

rpcContract('in process', async () => {
  let companion: RpcHandler | undefined;
  return {
    rpc: inProcessRpc(() => companion, systemClock),
    serve: (one) => (companion = one),
    close: () => Promise.resolve(),
  };
});

rpcContract('HTTP', async () => {
  const key = createPrivateKey(newLocalKey());
  const control = await localControl(key);
  const rpc = httpRpc({
    clock: systemClock,
    tokens: localTokens(key),
    audience: AUDIENCE,
    directory: {
      shards: ['only'],
      shardOf: () => Promise.resolve('only'),
      urlOf: () => Promise.resolve(control.url),
    },
  });
  return { rpc, serve: (companion) => control.serve(companion), close: () => control.close() };
});
