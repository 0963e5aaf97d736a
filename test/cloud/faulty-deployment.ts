/** A deployment with fault injection between its parts and Firestore and Pub/Sub. */
import { contentOf, eventually, Fleet, type Answer, type Deployment, type Member } from '../e2e/harness';
import { cloudEngine, type CloudEngine } from './deployment';
import { GrpcProxy } from './grpc-proxy';
import { SHORT_LEASES } from './short-leases';
import { describeOnEmulators, uniqueProject, type EmulatorHosts } from './support';

/** Milliseconds that an answer may take beyond its deadline; Google's clients would wait for ten minutes. */
export const MARGIN_MS = 30_000;

/** Outbound messages that may wait for the bus on one layer. */
export const QUEUE_LIMIT = 20;

/** Milliseconds until the emulator redelivers the messages of a closed reader: twice the lease, and a margin. */
export const OFFERED_AGAIN_MS = (2 * SHORT_LEASES.ackDeadlineS + 60) * 1000;

/** Status codes of gRPC. */
export const ABORTED = 10;
export const NOT_FOUND = 5;
export const PERMISSION_DENIED = 7;
export const UNAVAILABLE = 14;

export async function timed<T>(work: Promise<T>): Promise<{ readonly ms: number; readonly value: T }> {
  const began = performance.now();
  const value = await work;
  return { value, ms: performance.now() - began };
}

/** The parts of a started deployment. */
interface Started {
  readonly firestore: GrpcProxy;
  readonly pubsub: GrpcProxy;
  readonly cloud: CloudEngine;
  readonly here: Deployment;
  readonly alice: Member;
  /** A member with the layers L1 and L3.2 started and the topics `fault.*`. */
  readonly bob: Member;
}

export class FaultyDeployment {
  readonly projectId = uniqueProject();
  readonly fleet = new Fleet();
  #parts: Started | undefined;

  async start(hosts: EmulatorHosts): Promise<void> {
    const firestore = await GrpcProxy.listen(hosts.firestore);
    const pubsub = await GrpcProxy.listen(hosts.pubsub);
    const cloud = cloudEngine(
      { firestore: firestore.host, pubsub: pubsub.host },
      { GOOGLE_CLOUD_PROJECT: this.projectId, CMBS_QUEUE_LIMIT: String(QUEUE_LIMIT) },
      { bus: SHORT_LEASES },
    );
    const here = await this.fleet.start({ engine: cloud.engine });
    const alice = await here.member({ title: 'alice' });
    const bob = await here.member({ title: 'bob', topics: ['fault.*'], start: ['l1', 'l32'] });
    this.#parts = { firestore, pubsub, cloud, here, alice, bob };
    await here.must(200, this.publish('first'));
    await here.receives(bob, 1);
  }

  get parts(): Started {
    if (this.#parts === undefined) throw new Error('the deployment is not started');
    return this.#parts;
  }

  /** Ends all faults and forgets the errors that were logged because of them. */
  heal(): void {
    const { firestore, pubsub, here } = this.parts;
    firestore.heal();
    pubsub.heal();
    here.faults.splice(0);
  }

  async close(): Promise<void> {
    await this.fleet.close();
    await Promise.all([this.#parts?.firestore.close(), this.#parts?.pubsub.close()]);
  }

  /** Sends a message on a topic of bob. */
  publish(content: string, more = {}): Promise<Answer & { readonly path: string }> {
    const { here, alice } = this.parts;
    return here.send('l32', { from: alice.id, topics: ['fault.first'], content, ...more });
  }

  arrives(content: string, ms?: number): Promise<unknown> {
    const { here, bob } = this.parts;
    return eventually(
      async () => (await here.inbox(bob)).map(contentOf),
      (contents) => contents.includes(content),
      `bob receives ${content}`,
      ms,
    );
  }

  /** How often bob has received the content. */
  async count(content: string): Promise<number> {
    const { here, bob } = this.parts;
    return (await here.inbox(bob)).filter((entry) => contentOf(entry) === content).length;
  }
}

/** The tests of one file on such a deployment. */
export function describeFaults(
  name: string,
  tests: (deployment: FaultyDeployment, hosts: EmulatorHosts) => void,
): void {
  describeOnEmulators(name, (hosts) => {
    const deployment = new FaultyDeployment();
    beforeAll(() => deployment.start(hosts));
    afterEach(() => deployment.heal());
    afterAll(() => deployment.close());
    tests(deployment, hosts);
  });
}
