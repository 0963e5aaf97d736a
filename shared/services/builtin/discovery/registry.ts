/** The published records of services, in the store. Records that are not renewed expire there. */
import { createHash } from 'node:crypto';
import type { Clock } from '../../../clock';
import { badRequest, CmbsError } from '../../../errors';
import { type Principal, SYSTEM } from '../../../principal';
import type { Doc, PutOptions, Query, Store } from '../../../store';
import {
  type Descriptor,
  MAX_RECORD_BYTES,
  MAX_RECORD_LIFE_MS,
  providerOf,
  RECORD_LIFE_MS,
  type Selection,
  type ServiceQuery,
  type ServiceRecord,
  type StoredRecord,
  storedSchema,
} from './record';

/** Collection of the records. Ids begin with the name of the service, so that a name is read as a range. */
const SERVICES = 'service-records';
const SEPARATOR = '\n';
/** Records of one publisher, and records of one call. */
const MAX_RECORDS_OF_PUBLISHER = 100;
export const MAX_DESCRIPTORS = 50;
/** Records of all publishers. Two registrations at the same time can pass it by one call's records. */
const MAX_RECORDS = 10_000;

const FIELD = { vo: 'vo', site: 'site', item: 'item', provider: 'provider' } as const;

export interface RegistryLimits {
  readonly ofPublisher: number;
  readonly records: number;
}

export interface ServiceRegistryOptions {
  readonly store: Store;
  readonly clock: Pick<Clock, 'now'>;
  readonly isAdministrator: (principal: Principal) => Promise<boolean>;
  /** Limits in place of the defaults. */
  readonly limits?: RegistryLimits;
}

export interface RecordPage {
  readonly records: readonly ServiceRecord[];
  readonly next?: string;
}

/** A publisher has one record for a name, an organisation and a site. */
function idOf({ name, vo, site, provider_dn: provider }: StoredRecord): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([vo, site, provider]))
    .digest('base64url');
  return `${name}${SEPARATOR}${digest}`;
}

const itemText = ({ key, value }: { readonly key: string; readonly value: string }): string =>
  JSON.stringify([key, value]);

const putOptions = ({ vo, site, item, provider_dn: provider }: StoredRecord, expiresAt: number): PutOptions => ({
  index: {
    [FIELD.vo]: [vo],
    [FIELD.site]: [site],
    [FIELD.provider]: [provider],
    [FIELD.item]: [...new Set(item.map(itemText))],
  },
  expiresAt,
});

function recordOf({ value, expiresAt = 0 }: Doc): ServiceRecord {
  return { ...storedSchema.parse(value), expire: Math.floor(expiresAt / 1000) };
}

/** The terms of a query that the index answers. */
function termsOf({
  vo,
  site,
  provider_dn: provider,
  item,
}: Pick<ServiceQuery, 'vo' | 'site' | 'provider_dn' | 'item'>): Query['where'] {
  return [
    ...(vo === undefined ? [] : [{ field: FIELD.vo, value: vo }]),
    ...(site === undefined ? [] : [{ field: FIELD.site, value: site }]),
    ...(provider === undefined ? [] : [{ field: FIELD.provider, value: provider }]),
    ...(item === undefined ? [] : [{ field: FIELD.item, value: itemText(item) }]),
  ];
}

const prefixed = (name: string | undefined): Pick<Query, 'prefix'> =>
  name === undefined ? {} : { prefix: name + SEPARATOR };

export class ServiceRegistry {
  readonly #options: ServiceRegistryOptions;
  readonly #limits: RegistryLimits;

  constructor(options: ServiceRegistryOptions) {
    this.#options = options;
    this.#limits = options.limits ?? { ofPublisher: MAX_RECORDS_OF_PUBLISHER, records: MAX_RECORDS };
  }

  /**
   * Publishes records for a caller, all or none. A record with the name, organisation and site of an earlier one of the
   * same publisher replaces and renews that one.
   * @throws CmbsError `too_large` for a record, `storage_full` beyond a bound, `bad_request` for an expiry in the past
   */
  async register(principal: Principal, descriptors: readonly Descriptor[]): Promise<void> {
    const { store, clock } = this.#options;
    const now = clock.now();
    const provider = providerOf(principal);
    const records = new Map(
      descriptors.map((descriptor) => {
        const record = recordFrom(descriptor, provider);
        return [idOf(record), { record, expiresAt: expiryOf(descriptor, now) }] as const;
      }),
    );
    const ids = [...records.keys()];
    await store.transact(async (tx) => {
      const known = await tx.getAll(SERVICES, ids);
      const added = known.filter((doc) => doc === undefined).length;
      if (added > 0) await this.#requireRoom(principal, added, (query) => tx.query(query));
      for (const [id, { record, expiresAt }] of records) {
        tx.put(SERVICES, id, { ...record }, putOptions(record, expiresAt));
      }
    });
  }

  async #requireRoom(principal: Principal, added: number, read: Store['query']): Promise<void> {
    // The deployment publishes its own modules, however much others publish.
    if (principal.kind === SYSTEM.kind) return;
    const { ofPublisher, records } = this.#limits;
    const own = await read({
      collection: SERVICES,
      where: [{ field: FIELD.provider, value: providerOf(principal) }],
      limit: ofPublisher + 1,
    });
    if (own.docs.length + added > ofPublisher) {
      throw new CmbsError(
        'storage_full',
        `A publisher has ${ofPublisher} records of services at most; deregister some, or wait until they expire.`,
      );
    }
    if ((await this.#options.store.count({ collection: SERVICES }, records + 1)) + added > records) {
      throw new CmbsError('storage_full', `There are ${records} records of services at most; try again later.`);
    }
  }

  /** A page of the records that match, by name. @throws CmbsError `bad_request` for a cursor that is not valid */
  async find(
    query: Pick<ServiceQuery, 'name' | 'vo' | 'site' | 'provider_dn' | 'item' | 'cursor' | 'limit'>,
  ): Promise<RecordPage> {
    const { docs, next } = await this.#options.store.query({
      collection: SERVICES,
      ...prefixed(query.name),
      where: termsOf(query) ?? [],
      limit: query.limit,
      ...(query.cursor === undefined ? {} : { after: query.cursor }),
    });
    return { records: docs.map(recordOf), ...(next === undefined ? {} : { next }) };
  }

  /** Names of services, each once on a page. */
  async names(
    cursor: string | undefined,
    limit: number,
  ): Promise<{ readonly names: readonly string[]; readonly next?: string }> {
    const { docs, next } = await this.#options.store.query({
      collection: SERVICES,
      limit,
      ...(cursor === undefined ? {} : { after: cursor }),
    });
    const names = [...new Set(docs.map(({ id }) => id.slice(0, id.indexOf(SEPARATOR))))];
    return { names, ...(next === undefined ? {} : { next }) };
  }

  /**
   * Changes when records expire; a time that has passed removes them. Resolves with their number.
   * @param expire seconds since the epoch
   * @throws CmbsError `forbidden` for the records of others, unless the caller is an administrator
   */
  async expire(principal: Principal, selection: Selection, expire: number): Promise<number> {
    const { store, clock, isAdministrator } = this.#options;
    const own = providerOf(principal);
    const { name, provider_dn: provider = own } = selection;
    if (provider !== own && !(await isAdministrator(principal))) {
      throw new CmbsError(
        'forbidden',
        `The records of ${provider} are changed by ${provider} and by administrators.`,
      );
    }
    const now = clock.now();
    const expiresAt = Math.min(expire * 1000, now + MAX_RECORD_LIFE_MS);
    return store.transact(async (tx) => {
      const { docs } = await tx.query({
        collection: SERVICES,
        ...prefixed(name),
        where: termsOf({ ...selection, provider_dn: provider }) ?? [],
        limit: this.#limits.ofPublisher,
      });
      for (const { id, value } of docs) {
        if (expiresAt <= now) tx.delete(SERVICES, id);
        else tx.put(SERVICES, id, value, putOptions(storedSchema.parse(value), expiresAt));
      }
      return docs.length;
    });
  }
}

function recordFrom(
  { expire: _expire, provider_dn: _claim, ...described }: Descriptor,
  provider: string,
): StoredRecord {
  const record = { ...described, provider_dn: provider };
  if (Buffer.byteLength(JSON.stringify(record)) > MAX_RECORD_BYTES) {
    throw new CmbsError('too_large', `The record of a service has ${MAX_RECORD_BYTES} bytes as JSON at most.`);
  }
  return record;
}

/** Milliseconds since the epoch. */
function expiryOf({ expire = 0 }: Descriptor, now: number): number {
  if (expire === 0) return now + RECORD_LIFE_MS;
  if (expire * 1000 <= now)
    throw badRequest('The time "expire" has passed; give seconds since the epoch, or none.');
  return Math.min(expire * 1000, now + MAX_RECORD_LIFE_MS);
}
