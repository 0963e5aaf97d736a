/** Functions of release 1.0 refuse members of a reply that they do not know. */
import { z } from 'zod';
import { RPC_RESULTS } from '../../shared/rpc/rpc';
import { forRelease1 } from '../../companion/control';

const SEND_IN_10 = z.strictObject({ outcome: z.enum(['settled', 'queued']), reason: z.string().optional() });

it.each([
  { outcome: 'settled', state: 'failed', reason: 'nobody there' },
  { outcome: 'settled', state: 'delivered' },
  { outcome: 'settled' },
  { outcome: 'queued', reason: 'later' },
] as const)('the reply %j to a send is understood by functions of release 1.0', (reply) => {
  expect(RPC_RESULTS.send.parse(reply)).toEqual(reply);
  const { outcome } = reply;
  expect(SEND_IN_10.parse(forRelease1(reply))).toEqual({
    outcome,
    ...('reason' in reply ? { reason: reply.reason } : {}),
  });
});

it.each([{ state: 'started' }, { outcome: 'executed' }, { found: [], known: [], failed: [] }, {}] as const)(
  'the reply %j to another call stays as it is',
  (reply) => {
    expect(forRelease1(reply as Parameters<typeof forRelease1>[0])).toEqual(reply);
  },
);
