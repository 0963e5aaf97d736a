/** What the handlers work with; a program assembles it once (`cloud.ts` for a function, the local stack on a laptop). */
import type { Clock, Counters, Log, Principal } from '@cmbs/shared';
import type { BusDelivery, TopicLayer } from '@cmbs/shared/bus';
import type { Inbox, Layers, MessageSender } from '@cmbs/shared/broker';
import type { Actions, AnsweredRequests, Categories, Entities, Path, Renderings } from '@cmbs/shared/occi';
import type { LargeAnswers } from './large-answers';

/** Takes the topic messages that Pub/Sub pushes. */
export interface PushHandler {
  /**
   * Verifies the `Authorization` header of a push.
   * @returns the principal of the push: the topic bus, or an anonymous caller where pushes are not signed
   * @throws CmbsError as `TokenVerifier.verify`
   */
  readonly verify: (authorization: string | undefined) => Promise<Principal>;
  /**
   * Resolves when the message is stored durably, or when the member does not want it.
   * @throws CmbsError when Pub/Sub has to push the message again, `forbidden` among them
   */
  readonly take: (
    name: string,
    subscription: { readonly member: Path | undefined; readonly layer: TopicLayer },
    delivery: BusDelivery,
    principal: Principal,
  ) => Promise<void>;
}

export interface App {
  readonly categories: Categories;
  readonly entities: Entities;
  readonly layers: Layers;
  readonly actions: Actions;
  readonly sends: MessageSender;
  readonly inbox: Inbox;
  /** What requests with an `Idempotency-Key` were answered. */
  readonly answered: AnsweredRequests;
  readonly renderings: Renderings;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** Takes what Pub/Sub pushes, where that is how topic messages come. */
  readonly push: PushHandler | undefined;
  /** Turns of answers that are large. */
  readonly answers: LargeAnswers;
  /** Seconds that a send waits when the request does not say. */
  readonly sendWaitS: number;
  /** Query parameters that mean nothing and are no mistake (`CMBS_IGNORED_QUERY`). */
  readonly ignoredQuery: ReadonlySet<string>;
  /** Resolves when what a request needs (store, companion) answers; rejects with the reason. */
  readonly ready: () => Promise<void>;
}
