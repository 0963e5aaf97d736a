/** The parts that handlers use. A program assembles them once: `cloud.ts` for a function, or the local stack. */
import type { Authorize, Clock, Counters, Log, Principal } from '@cmbs/shared';
import type { BusDelivery, TopicLayer } from '@cmbs/shared/bus';
import type { Layers } from '@cmbs/shared/broker';
import type { Domain } from '@cmbs/shared/domain';
import type { IdempotentRuns, Path, Renderings } from '@cmbs/shared/occi';
import type { ResultRoom, Services } from '@cmbs/shared/services';
import type { GovernedFiles } from '@cmbs/shared/services/builtin';
import type { LargeAnswers } from './large-answers';
import type { OcciRequest } from './request';

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

/** The assembled domain, as handlers use it. */
export interface App extends Domain {
  readonly layers: Layers;
  /**
   * The caller of a request; `anonymous` for one without credentials.
   * @throws CmbsError `unauthenticated`, `queue_full` after too many failed logins, `unavailable`
   */
  readonly authenticate: (request: OcciRequest) => Promise<Principal>;
  /** Decides operations that no part of the domain asks about. */
  readonly authorize: Authorize;
  /** Absent where there is no disk, and without `CMBS_FILES_DIR`. */
  readonly files: GovernedFiles | undefined;
  /** Requests with an `Idempotency-Key` that call methods. */
  readonly runs: IdempotentRuns;
  /** For the results of calls that wait for their answers. */
  readonly results: ResultRoom;
  /** The methods that callers reach over HTTP. */
  readonly services: Services;
  readonly renderings: Renderings;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** Absent where the companion pulls topic messages. */
  readonly push: PushHandler | undefined;
  /** Limits large answers. */
  readonly answers: LargeAnswers;
  /** Seconds that a send waits for its outcome, by default. */
  readonly sendWaitS: number;
  /** Query parameters that are ignored instead of refused (`CMBS_IGNORED_QUERY`). */
  readonly ignoredQuery: ReadonlySet<string>;
  /**
   * Resolves when the store and the companion answer.
   * @throws CmbsError `unavailable`
   */
  readonly ready: () => Promise<void>;
}
