/** Puts the domain together on given engines: the same for the local stack, a deployed function, and tests. */
import { newId as randomId, type Clock, type Log, type NewId } from '@cmbs/shared';
import { Inbox } from '@cmbs/shared/broker/inbox';
import { cmbsExtension } from '@cmbs/shared/broker/providers';
import type { Bus } from '@cmbs/shared/bus/bus';
import type { Config } from '@cmbs/shared/config';
import type { Link } from '@cmbs/shared/link/link';
import { Actions } from '@cmbs/shared/occi/actions';
import { Categories } from '@cmbs/shared/occi/categories';
import { Entities } from '@cmbs/shared/occi/entities';
import { infrastructure } from '@cmbs/shared/occi/infrastructure';
import type { Extension } from '@cmbs/shared/occi/provider';
import type { Store } from '@cmbs/shared/store/store';
import { openAccess, type App } from './app';

export interface Engines {
  readonly store: Store;
  readonly bus: Bus;
  readonly link: Link;
  readonly clock: Clock;
  /** Random identifiers when absent. */
  readonly newId?: NewId;
  readonly log: Log;
  readonly deployment: string;
  /** URI of a member of this deployment from its path. */
  readonly uriOf: (path: string) => string;
  readonly ready: () => Promise<void>;
}

export type AppConfig = Pick<Config, 'CMBS_EXTENSIONS' | 'CMBS_QUEUE_LIMIT' | 'CMBS_SEND_WAIT_S'>;

export function assemble(engines: Engines, config: AppConfig): App {
  const { store, bus, link, clock, newId = randomId, log, deployment, uriOf, ready } = engines;
  // Providers act on entities, whose rules come from the categories that the providers stand behind.
  const ring: { categories?: Categories } = {};
  const current = (): Categories => {
    if (ring.categories === undefined) throw new Error('used before it was assembled');
    return ring.categories;
  };
  const extensions: Extension[] = [
    cmbsExtension({
      store,
      clock,
      newId,
      link,
      log,
      queueLimit: config.CMBS_QUEUE_LIMIT,
      categories: current,
      publishing: { bus, deployment, uriOf },
    }),
  ];
  if (config.CMBS_EXTENSIONS.includes('infrastructure')) {
    extensions.push(infrastructure({ store, clock, categories: current }));
  }
  const categories = new Categories(store, extensions);
  ring.categories = categories;
  const entities = new Entities({ store, categories, clock, newId });
  return {
    categories,
    entities,
    actions: new Actions(categories, entities),
    inbox: new Inbox(store, clock),
    perform: openAccess(log),
    clock,
    log,
    sendWaitS: config.CMBS_SEND_WAIT_S,
    ready,
  };
}
