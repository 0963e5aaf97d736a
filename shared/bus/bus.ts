/**
 * The topic bus: what L3.2 and L4 publish on. Embedded in the store on one machine, Pub/Sub in the cloud; one
 * contract suite for both. Delivery is at least once; a subscription keeps what was published after it was made
 * until it is acknowledged or given up as a dead letter.
 */

export type TopicLayer = 'l32' | 'l4';

export interface BusMessage {
  /** The message entity as JSON text. */
  readonly data: string;
  /** id, layer, topic, sender, content type, trace context; names and values are strings. */
  readonly attributes: Readonly<Record<string, string>>;
  /** Messages with one key reach a subscription in the order in which they were published. */
  readonly orderingKey?: string;
}

export interface BusDelivery {
  /** Identifier that the bus gave at publication; the same at each redelivery. */
  readonly id: string;
  readonly topic: string;
  readonly message: BusMessage;
  /** 1 at first. */
  readonly attempt: number;
}

export interface Subscription {
  /** Unique on the bus; letters, digits, `.`, `_`, `-`. */
  readonly name: string;
  readonly layer: TopicLayer;
  /** Topic names or patterns (`*` one word, `>` the rest); a topic is delivered once even if several match. */
  readonly patterns: readonly string[];
  /** While true nothing is pushed to it; what is published waits, as it does while nobody consumes. */
  readonly paused?: boolean;
}

export interface ConsumeOptions {
  /** Deliveries handed out and not settled yet, at most. */
  readonly maxInFlight: number;
  /** Called when a delivery is given up after the last attempt, with the last error. */
  readonly onDeadLetter?: (delivery: BusDelivery, reason: string) => Promise<void>;
}

export interface Consumer {
  /** Takes no more, waits for what is in the handler's hands. */
  close(): Promise<void>;
}

export interface Bus {
  /** Durable when resolved. Returns the bus's identifier of the message. */
  publish(layer: TopicLayer, topic: string, message: BusMessage): Promise<string>;
  /** Creates the subscription or changes its patterns. Idempotent. */
  setSubscription(subscription: Subscription): Promise<void>;
  /** Idempotent; what was not acknowledged is gone. */
  removeSubscription(name: string): Promise<void>;
  /**
   * A handler that returns acknowledges; one that throws is offered the delivery again, after a back-off. An error that
   * says that trying again cannot help (a `CmbsError` that is not retryable) makes a dead letter of it at once.
   */
  consume(name: string, handler: (delivery: BusDelivery) => Promise<void>, options: ConsumeOptions): Consumer;
  close(): Promise<void>;
}
