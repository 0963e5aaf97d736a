/** The destination queues, one for each address that messages go to or wait for. */
import type { Delivery } from '@cmbs/shared/broker';
import { BroadcastQueue } from './broadcast-queue';
import { ConnectionSlots } from './connection-slots';
import type { DestinationQueue } from './destination-queue';
import type { QueueOwner } from './in-flight-message';
import type { QueueEnvironment } from './environment';
import { RequestQueue } from './request-queue';

export class Destinations {
  readonly #environment: QueueEnvironment;
  readonly #outbox: QueueOwner;
  /** Whether the first scan of the store is still under way. */
  readonly #isBehind: () => boolean;
  readonly #requests = new Map<string, DestinationQueue>();
  readonly #broadcasts = new Map<string, DestinationQueue>();
  readonly #slots: ConnectionSlots;

  constructor(environment: QueueEnvironment, outbox: QueueOwner, isBehind: () => boolean) {
    this.#environment = environment;
    this.#outbox = outbox;
    this.#isBehind = isBehind;
    this.#slots = new ConnectionSlots(environment.clock, environment.limits);
  }

  get size(): number {
    return this.#requests.size + this.#broadcasts.size;
  }

  /** A frame came from a member at an address: messages that wait for the member may go. */
  notify(address: string): void {
    this.#requests.get(address)?.notify();
    this.#broadcasts.get(address)?.notify();
  }

  async close(): Promise<void> {
    this.#slots.close();
    await Promise.all(this.all.map((queue) => queue.close()));
  }

  get all(): readonly DestinationQueue[] {
    return [...this.#requests.values(), ...this.#broadcasts.values()];
  }

  #queuesOf({ via }: Pick<Delivery, 'via'>): Map<string, DestinationQueue> {
    return via === 'broadcast' ? this.#broadcasts : this.#requests;
  }

  /** The queue to the receiver, if there is one. */
  known(receiver: Pick<Delivery, 'via' | 'address'>): DestinationQueue | undefined {
    return receiver.address === undefined ? undefined : this.#queuesOf(receiver).get(receiver.address);
  }

  /** The queue to the receiver, a new one if need be. */
  of(receiver: Pick<Delivery, 'via' | 'address'>): DestinationQueue | undefined {
    const { address, via } = receiver;
    const known = this.known(receiver);
    if (known !== undefined || address === undefined || via === 'bus' || via === 'none') return known;
    const queues = this.#queuesOf(receiver);
    const parts = {
      address,
      outbox: this.#outbox,
      environment: this.#environment,
      slots: this.#slots,
      isBehind: this.#isBehind(),
      onIdle: () => void queues.delete(address),
    };
    const queue = via === 'broadcast' ? new BroadcastQueue(parts) : new RequestQueue(parts);
    queues.set(address, queue);
    return queue;
  }
}
