/** What the broker's parts need of the program that they are part of: the companion, or a function that is pushed to. */
import type { Clock, NewId } from '../clock';
import type { Counters, Log } from '../log';
import type { Categories } from '../occi/categories';
import type { Registry } from '../occi/registry';
import type { Store } from '../store/store';

export interface BrokerContext {
  readonly store: Store;
  readonly categories: Pick<Categories, 'current'>;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly log: Log;
  readonly counters: Counters;
}

export async function registryOf({ categories }: Pick<BrokerContext, 'categories'>): Promise<Registry> {
  return (await categories.current()).registry;
}
