/** What the broker needs from the program that it runs in: the companion, or the function to which Pub/Sub pushes. */
import type { Clock, NewId } from '../clock';
import type { Counters, Log } from '../log';
import type { Categories, CategoryRegistry } from '../occi';
import type { Authorize } from '../principal';
import type { Store } from '../store';
import type { Layers } from './layer-definition';

export interface BrokerContext {
  readonly store: Store;
  readonly categories: Pick<Categories, 'current'>;
  readonly layers: Layers;
  readonly authorize: Authorize;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly log: Log;
  readonly counters: Counters;
}

export async function registryOf({ categories }: Pick<BrokerContext, 'categories'>): Promise<CategoryRegistry> {
  return (await categories.current()).registry;
}
