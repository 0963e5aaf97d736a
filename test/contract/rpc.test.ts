/** RPC in one process, and over HTTP on loopback with a companion's control endpoint. */
import { createPrivateKey } from 'node:crypto';
import { silentLog, systemClock } from '@cmbs/shared';
import type { RpcHandler } from '@cmbs/shared/rpc';
import { httpRpc } from '@cmbs/shared/rpc/http';
import { newLocalKey } from '@cmbs/shared/rpc/identity';
import { inProcessRpc } from '@cmbs/shared/rpc/in-process';
import { SitePolicy } from '@cmbs/shared/sites';
import { Control } from '../../companion/control';
import { prometheusMetrics } from '@cmbs/companion';
import { LOCAL_FUNCTIONS_ACCOUNT, localTokens, localVerifier } from '../../shared/rpc/identity/local';
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
  const audience = 'cmbs-companion';
  const control = await Control.listen({
    host: '127.0.0.1',
    port: 0,
    verifier: localVerifier(key),
    expected: { audience, accounts: [LOCAL_FUNCTIONS_ACCOUNT] },
    metrics: prometheusMetrics(),
    sites: new SitePolicy({ publicUrl: undefined, hosts: ['127.0.0.1'], origins: [], trustedProxies: 0 }),
    clock: systemClock,
    log: silentLog,
  });
  const rpc = httpRpc({
    clock: systemClock,
    tokens: localTokens(key),
    audience,
    directory: {
      shards: ['only'],
      shardOf: () => Promise.resolve('only'),
      urlOf: () => Promise.resolve(control.url),
    },
  });
  return { rpc, serve: (companion) => control.serve(companion), close: () => control.close() };
});
