/** What the parts of a companion share. */
import type { Clock, Counters, Log, NewId } from '@cmbs/shared';
import type { Bus } from '@cmbs/shared/bus/bus';
import type { Categories } from '@cmbs/shared/occi/categories';
import type { Registry } from '@cmbs/shared/occi/registry';
import type { Services } from '@cmbs/shared/services/services';
import type { Store } from '@cmbs/shared/store/store';
import type { Members } from './members';
import type { SocketContext } from './sockets/options';

export interface Environment {
  readonly store: Store;
  readonly bus: Bus;
  readonly categories: Categories;
  readonly services: Services;
  readonly members: Members;
  readonly context: SocketContext;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly log: Log;
  readonly counters: Counters;
  /** Identifies this deployment in hops and origins (DESIGN decision 19). */
  readonly deployment: string;
  /** Identifies this companion as holder of sends. */
  readonly holder: string;
  /** URI of a member of this deployment from its path. */
  readonly uriOf: (path: string) => string;
  /** Whether members that others describe are stored. */
  readonly discovery: 'open' | 'closed';
  /** Entries of one member's inbox, at most. */
  readonly inboxLimit: number;
  /** Sends queued for one address, at most. */
  readonly queueLimit: number;
  /** `CMBS_BIND_HOST`. */
  readonly bindHost: string | undefined;
}

export async function registryOf({ categories }: Pick<Environment, 'categories'>): Promise<Registry> {
  return (await categories.current()).registry;
}
