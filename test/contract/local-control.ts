/** A companion's control endpoint on loopback, and what functions need to call it. */
import type { KeyObject } from 'node:crypto';
import { silentLog, systemClock } from '@cmbs/shared';
import { SitePolicy } from '@cmbs/shared/sites';
import { prometheusMetrics } from '@cmbs/companion';
import { LOCAL_FUNCTIONS_ACCOUNT, localVerifier } from '../../shared/rpc/identity/local';
import { Control } from '../../companion/control';

export const AUDIENCE = 'cmbs-companion';

/** Stands by until `serve` is called. The caller closes it. */
export const localControl = (key: KeyObject): Promise<Control> =>
  Control.listen({
    host: '127.0.0.1',
    port: 0,
    verifier: localVerifier(key),
    expected: { audience: AUDIENCE, accounts: [LOCAL_FUNCTIONS_ACCOUNT] },
    metrics: prometheusMetrics(),
    sites: new SitePolicy({ publicUrl: undefined, hosts: ['127.0.0.1'], origins: [], trustedProxies: 0 }),
    clock: systemClock,
    log: silentLog,
  });
