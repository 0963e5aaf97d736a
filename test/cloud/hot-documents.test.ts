/**
 * Firestore sustains about one write per second to one document (its documentation, "Best practices"): no document may
 * be written for each message of a busy member or a busy topic.
 */
import { protobuf } from 'google-gax';
import { LEASE_RENEW_MS } from '../../shared/broker/lease';
import { contentOf, eventually, Fleet, type Deployment, type Member } from '../e2e/harness';
import { cloudEngine } from './deployment';
import { GrpcProxy } from './grpc-proxy';
import { describeOnEmulators } from './support';

/** The part of google.firestore.v1 that this test reads. */
const { root } = protobuf.parse(`
  syntax = "proto3";
  message Document { string name = 1; }
  message Write { Document update = 1; string delete = 2; }
  message CommitRequest { repeated Write writes = 2; }
`);
const commitRequest = root.lookupType('CommitRequest');

interface Commit {
  readonly writes?: readonly { readonly update?: { readonly name: string }; readonly delete?: string }[];
}

/** Messages: far more than the writes of any one of their documents. */
const MESSAGES = 60;
/** Writes to a message, its outbound message or its inbox entry, from creation to the end. */
const LIFE = 8;

describeOnEmulators('a deployment', (hosts) => {
  const fleet = new Fleet();
  const writes = new Map<string, number>();
  let firestore: GrpcProxy;
  let here: Deployment;
  let alice: Member;
  let bob: Member;

  beforeAll(async () => {
    firestore = await GrpcProxy.listen(hosts.firestore);
    firestore.observe('Commit', (body) => {
      const commit = commitRequest.toObject(commitRequest.decode(body)) as Commit;
      for (const { update, delete: deleted } of commit.writes ?? []) {
        const name = update?.name ?? deleted ?? '';
        const path = name.slice(name.indexOf('/documents/') + '/documents/'.length);
        writes.set(path, (writes.get(path) ?? 0) + 1);
      }
    });
    here = await fleet.start({ engine: cloudEngine({ ...hosts, firestore: firestore.host }).engine });
    alice = await here.member({ title: 'alice', start: ['l1'] });
    bob = await here.member({ title: 'bob', topics: ['hot'], start: ['l1', 'l32', 'l4'] });
    await here.must(200, here.send('l32', { from: alice.id, topics: ['hot'], content: 'makes the topic' }));
    await here.receives(bob, 1);
  });
  beforeEach(() => writes.clear());
  afterAll(async () => {
    await fleet.close();
    await firestore.close();
  });

  async function send(layer: 'l1' | 'l32' | 'l4', options: object): Promise<readonly string[]> {
    const contents = Array.from({ length: MESSAGES }, (_, at) => `${layer} ${at}`);
    for (const content of contents) {
      await here.must(200, here.send(layer, { from: alice.id, content, ...options }));
    }
    return contents;
  }

  test.each(['l1', 'l32', 'l4'] as const)(
    'writes no document for each message to a busy member on %s',
    async (layer) => {
      const began = performance.now();
      const contents = await send(
        layer,
        layer === 'l1'
          ? { to: bob.sockets.l1 }
          : { topics: ['hot'], ...(layer === 'l4' && { providers: ['bob'] }) },
      );
      await eventually(
        async () => new Set((await here.inbox(bob)).map(contentOf)),
        (received) => contents.every((content) => received.has(content)),
        'all arrive',
      );
      const renewals = Math.ceil((performance.now() - began) / LEASE_RENEW_MS) + 1;
      const often = [...writes].filter(([path, count]) => count > (path.startsWith('leases/') ? renewals : LIFE));
      expect(often).toEqual([]);
      // The proxy has seen all writes.
      expect([...writes.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThan(MESSAGES * 3);
    },
  );
});
