/** What the broker's parts need of the program that they are part of: the companion, or a function that is pushed to. */
import type { Clock, NewId } from '../clock';
import type { Counters, Log } from '../log';
import type { Categories, CategoryRegistry } from '../occi';
import type { Store } from '../store';

export interface BrokerContext {
  readonly store: Store;
  readonly categories: Pick<Categories, 'current'>;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly log: Log;
  readonly counters: Counters;
}

export async function registryOf({ categories }: Pick<BrokerContext, 'categories'>): Promise<CategoryRegistry> {
  return (await categories.current()).registry;
}
