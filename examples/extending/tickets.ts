/** An extension: the kind `ticket`, its action `close`, and the provider behind both. */
import { CmbsError } from '@cmbs/shared';
import {
  categoryId,
  readEntity,
  RESOURCE_KIND,
  writeEntity,
  type Action,
  type Categories,
  type Extension,
  type Kind,
  type Provider,
} from '@cmbs/shared/occi';
import type { Store } from '@cmbs/shared/store';

const SCHEME = 'http://example.com/occi#';
const STATE = 'com.example.ticket.state';
const PRIORITY = 'com.example.ticket.priority';

const close: Action = {
  class: 'action',
  scheme: SCHEME,
  term: 'close',
  title: 'Close the ticket',
  attributes: {},
  origin: 'extension',
};

const ticket: Kind = {
  class: 'kind',
  dialect: 'gfd226',
  scheme: SCHEME,
  term: 'ticket',
  title: 'A ticket',
  parent: RESOURCE_KIND,
  attributes: {
    [PRIORITY]: { type: 'number', required: true, mutable: true, lenient: false },
    [STATE]: { type: 'string', required: false, mutable: false, lenient: false, default: 'open' },
  },
  actions: [categoryId(close)],
  location: '/ticket/',
  origin: 'extension',
};

export interface TicketsOptions {
  readonly store: Store;
  /** A function, since the categories are made from the extensions: call it when an action runs. */
  readonly categories: () => Pick<Categories, 'current'>;
}

export function tickets({ store, categories }: TicketsOptions): Extension {
  const provider: Provider = {
    name: 'tickets',
    // Runs inside the writing transaction, which may run again: only checks, without side effects.
    prepare: (next) => {
      const priority = next.attributes[PRIORITY];
      if (typeof priority === 'number' && priority >= 1 && priority <= 5) return next;
      throw new CmbsError('bad_attribute', `${PRIORITY} is a number from 1 to 5.`);
    },
    applicable: (entity, actions) => (entity.attributes[STATE] === 'open' ? actions : []),
    act: async ({ entity, signal }) => {
      const { registry } = await categories().current();
      await store.transact(
        async (tx) => {
          const stored = await readEntity(tx, entity.path);
          if (stored === undefined) throw new CmbsError('not_found', `There is nothing at ${entity.path}.`);
          const closed = { ...stored.entity, attributes: { ...stored.entity.attributes, [STATE]: 'closed' } };
          writeEntity(tx, closed, stored.entity, registry);
        },
        { signal },
      );
      return { answer: 'entity', status: 200 };
    },
  };
  return {
    name: 'tickets',
    categories: [ticket, close],
    providers: [provider],
    bindings: { [categoryId(ticket)]: provider.name },
  };
}
