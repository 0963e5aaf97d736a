/** `/healthz` says that the process answers, `/readyz` that the store and the companion answer too. */
import { CmbsError, toCmbsError } from '@cmbs/shared';
import type { App } from '../app';
import type { OcciRequest, OcciResponse } from '../request';
import { answerJson } from '../respond';

export async function health(request: OcciRequest, app: App): Promise<OcciResponse> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    throw new CmbsError('method_not_allowed', `${request.method} is not offered here.`, {
      headers: { Allow: 'GET, HEAD' },
    });
  }
  const headers = { 'Cache-Control': 'no-store' };
  if (request.path === '/readyz') {
    try {
      await app.ready();
    } catch (thrown) {
      const { code, message } = toCmbsError(thrown);
      if (code !== 'unavailable') throw thrown;
      // A platform asks every few seconds, and an unavailable dependency is a normal answer.
      app.log.warn('not ready', { cause: message, trace: request.trace });
      return answerJson(503, { status: 'not ready', reason: message }, headers);
    }
  }
  return answerJson(200, { status: 'ok' }, headers);
}
