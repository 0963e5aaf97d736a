/** What the handlers work with; a program assembles it once (`cloud.ts` for a function, the local stack on a laptop). */
import type { Clock, Counters, Log } from '@cmbs/shared';
import type { BusDelivery, TopicLayer } from '@cmbs/shared/bus';
import type { Inbox, Layers, MessageSender } from '@cmbs/shared/broker';
import type { Actions, AnsweredRequests, Categories, Entities, Path, Renderings } from '@cmbs/shared/occi';
import type { LargeAnswers } from './large-answers';

/** What a pushed delivery needs. */
export interface PushHandler {
  /** Checks who pushes, from the `Authorization` header; see `TokenVerifier` for what it rejects with. */
  readonly authorize: (authorization: string | undefined) => Promise<void>;
  /** Resolves when the member has it durably, or is not to have it. */
  readonly take: (
    name: string,
    subscription: { readonly member: Path | undefined; readonly layer: TopicLayer },
    delivery: BusDelivery,
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
