/**
 * The topic bus, on which the layers L3.2 and L4 publish. Engines: embedded in the store of one machine, and Pub/Sub.
 * `test/contract/bus-contract.ts` runs against every engine.
 *
 * Delivery is at least once. A subscription keeps each message that is published after the subscription was made, until
 * the message is acknowledged or becomes a dead letter (docs/guarantees.md).
 */

/** Name of a layer that publishes; the bus keeps the topics of each layer apart. */
export type TopicLayer = string;

export interface BusMessage {
  /** The message entity as JSON text. */
  readonly data: string;
  /** id, layer, topic, sender, content type, trace context. */
  readonly attributes: Readonly<Record<string, string>>;
  /** A subscription receives the messages with one key in the order in which they were published. */
  readonly orderingKey?: string;
}

export interface BusDelivery {
  /** Given by the bus at publication; the same at each redelivery. */
  readonly id: string;
  readonly topic: string;
  readonly message: BusMessage;
  /** 1 for the first attempt. */
  readonly attempt: number;
}

export interface Subscription {
  /** Unique on the bus; letters, digits, `.`, `_`, `-`. */
  readonly name: string;
  readonly layer: TopicLayer;
  /** Topics or patterns (see `topics.ts`). A message is delivered once even when several patterns match its topic. */
  readonly patterns: readonly string[];
  /** While true, a bus that pushes does not push to the subscription; messages wait in it. */
  readonly paused?: boolean;
}

export interface ConsumeOptions {
  /** Deliveries with the handler at the same time, at most. */
  readonly maxInFlight: number;
  /**
   * Called when a delivery becomes a dead letter, with the last error. When it rejects, it is called again later, and
   * the delivery stays on the bus until then.
   */
  readonly onDeadLetter?: (delivery: BusDelivery, reason: string) => Promise<void>;
}

export interface Consumer {
  /** Starts no more handlers, and waits for those that run. Unacknowledged deliveries stay on the bus. */
  close(): Promise<void>;
}

export interface Bus {
  /**
   * Publishes a message. Resolves, with the bus's id of the message, when it is durable.
   *
   * @throws CmbsError `bad_attribute` for a topic that is not valid; `too_large`; `queue_full` when too much is waiting
   *   for a subscription or for the bus; `unavailable`, or `deadline_exceeded` when the outcome is unknown
   */
  publish(layer: TopicLayer, topic: string, message: BusMessage): Promise<string>;
  /**
   * Makes the subscription, or changes its patterns. Idempotent.
   *
   * @throws CmbsError `bad_request` for the name, `bad_attribute` for the patterns, `conflict` on another layer
   */
  setSubscription(subscription: Subscription): Promise<void>;
  /** Removes the subscription and its unacknowledged deliveries. Idempotent. */
  removeSubscription(name: string): Promise<void>;
  /**
   * Calls the handler with each delivery of the subscription. When the handler resolves, the delivery is acknowledged.
   * When it rejects, the delivery is tried again after a back-off; after an error that is not retryable
   * (`CmbsError.retryable`) the delivery becomes a dead letter at once.
   *
   * @throws CmbsError `conflict` when the subscription has a consumer in this process
   */
  consume(name: string, handler: (delivery: BusDelivery) => Promise<void>, options: ConsumeOptions): Consumer;
  close(): Promise<void>;
}
