/** `/healthz`: the process answers. `/readyz`: what it needs answers too. */
import { CmbsError } from '@cmbs/shared';
import type { App } from '../app';
import type { OcciRequest, OcciResponse } from '../request';
import { answerJson } from '../respond';

export async function health(request: OcciRequest, app: App): Promise<OcciResponse> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    throw new CmbsError('method_not_allowed', `${request.method} is not offered here.`, {
      headers: { Allow: 'GET, HEAD' },
    });
  }
  if (request.path === '/readyz') await app.ready();
  return answerJson(200, { status: 'ok' }, { 'Cache-Control': 'no-store' });
}
