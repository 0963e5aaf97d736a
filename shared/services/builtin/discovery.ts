/** The module `discovery`: services publish themselves, and callers find them (docs/services.md, "Discovery"). */
import { z } from 'zod';
import { badRequest } from '../../errors';
import type { Principal } from '../../principal';
import type { ServiceMethod, ServiceModule } from '../module';
import type { Value } from '../value';
import { argumentsOf } from './arguments';
import {
  descriptorSchema,
  querySchema,
  RECORD_LIFE_MS,
  selectionSchema,
  type ServiceQuery,
  type ServiceRecord,
} from './discovery/record';
import { MAX_DESCRIPTORS, type RecordPage, type ServiceRegistry } from './discovery/registry';

/** Records that are not published but made when they are read: those of members. */
export interface ServiceSource {
  /** A page of the records that match and that the caller may see. */
  find(principal: Principal, query: ServiceQuery): Promise<RecordPage>;
}

export interface DiscoveryPort {
  readonly registry: ServiceRegistry;
  /** The members; undefined while the program does not know them. */
  readonly members: () => ServiceSource | undefined;
}

/** Names on a page of `discovery.list_names`. */
const MAX_NAMES = 1000;
/** A cursor begins with the source that it belongs to. */
const PUBLISHED = 's';
const OF_MEMBERS = 'm';

/** Carries out an operation for a caller. @throws Fault, CmbsError */
type DiscoveryOperation = (caller: { readonly principal: Principal }, args: readonly Value[]) => Promise<Value>;

const registerArguments = z.tuple([z.array(descriptorSchema).min(1).max(MAX_DESCRIPTORS)]);
const findArguments = z.tuple([querySchema.default({ limit: 100 })]);
const nameArguments = z.tuple([z.string().max(4096).default('')]);
const selectionArguments = z.tuple([selectionSchema]);
const expireArguments = z.tuple([selectionSchema, z.int().min(0)]);

const shown = (record: ServiceRecord): Value => ({ ...record });

/** First the published records, then those of members, in pages. */
async function found(
  { registry, members }: DiscoveryPort,
  principal: Principal,
  query: ServiceQuery,
): Promise<RecordPage> {
  const { cursor = PUBLISHED, limit } = query;
  const [source, place] = [cursor.slice(0, 1), cursor.slice(1)];
  if (source !== PUBLISHED && source !== OF_MEMBERS) throw badRequest('The cursor is none of discovery.find.');
  const { cursor: _before, ...wanted } = query;
  const at = place === '' ? {} : { cursor: place };
  const published = source === PUBLISHED ? await registry.find({ ...wanted, ...at }) : { records: [] };
  if (published.next !== undefined) return { ...published, next: PUBLISHED + published.next };
  const left = limit - published.records.length;
  const directory = members();
  if (directory === undefined) return published;
  if (left === 0) return { ...published, next: OF_MEMBERS };
  const { records, next } = await directory.find(principal, {
    ...wanted,
    limit: left,
    ...(source === OF_MEMBERS ? at : {}),
  });
  return {
    records: [...published.records, ...records],
    ...(next === undefined ? {} : { next: OF_MEMBERS + next }),
  };
}

function operationsOf(port: DiscoveryPort): Readonly<Record<Operation, DiscoveryOperation>> {
  const { registry } = port;
  return {
    register: async ({ principal }, args) => {
      const [descriptors] = argumentsOf(
        registerArguments,
        args,
        'discovery.register takes an array of descriptors.',
      );
      await registry.register(principal, descriptors);
      return 0;
    },
    find: async ({ principal }, args) => {
      const [query] = argumentsOf(
        findArguments,
        args,
        'discovery.find takes a struct with name, vo, site, provider_dn, item (key, value), limit and cursor, or parts of it.',
      );
      const { records, next } = await found(port, principal, query);
      return { services: records.map(shown), ...(next === undefined ? {} : { next }) };
    },
    list_names: async (_caller, args) => {
      const [cursor] = argumentsOf(nameArguments, args, 'discovery.list_names takes a cursor, or nothing.');
      const { names, next } = await registry.names(cursor === '' ? undefined : cursor, MAX_NAMES);
      return { names, ...(next === undefined ? {} : { next }) };
    },
    deregister: ({ principal }, args) => {
      const [selection] = argumentsOf(
        selectionArguments,
        args,
        'discovery.deregister takes a struct with a name.',
      );
      return registry.expire(principal, selection, 0);
    },
    expire: ({ principal }, args) => {
      const [selection, time] = argumentsOf(
        expireArguments,
        args,
        'discovery.expire takes a struct with a name, and seconds since the epoch.',
      );
      return registry.expire(principal, selection, time);
    },
  };
}

const OWN =
  'The struct has name, and vo and site where they matter; an administrator names the publisher of others in provider_dn.';

const DESCRIPTIONS = {
  register: {
    documentation:
      'Publishes services, all or none, and returns 0. Each is a struct with name, vo, site, admin, wsdl, version, ' +
      'endpoint (an array of uri and encoding), item (an array of key and value), and expire in seconds since the epoch. ' +
      `Only name is needed. Without expire a record lives ${RECORD_LIFE_MS / 60_000} minutes, and 24 hours at most; ` +
      'publish it again to renew it. provider_dn is set to the caller.',
    signatures: [['int', 'array']],
    flags: { idempotent: true },
  },
  find: {
    documentation:
      'Returns the published services, and the members that the caller may see, that match: a struct with services, and ' +
      'with next when there may be more. The argument is a struct with name, vo, site, provider_dn, item (a struct with ' +
      'key and value), limit (100 when absent, 500 at most) and cursor (the next of the page before).',
    signatures: [['struct'], ['struct', 'struct']],
    flags: { idempotent: true },
  },
  list_names: {
    documentation:
      'Returns the names of the published services, sorted: a struct with names, and with next when there may be more. ' +
      'The argument is the next of the page before.',
    signatures: [['struct'], ['struct', 'string']],
    flags: { idempotent: true },
  },
  deregister: {
    documentation: `Removes records of the caller, and returns their number. ${OWN}`,
    signatures: [['int', 'struct']],
    flags: { idempotent: true },
  },
  expire: {
    documentation:
      `Sets when records of the caller expire, in seconds since the epoch, and returns their number. ${OWN} A time that ` +
      'has passed removes them; a time after 24 hours counts as 24 hours.',
    signatures: [
      ['int', 'struct', 'int'],
      ['int', 'struct', 'i8'],
    ],
    flags: { idempotent: true },
  },
} as const satisfies Readonly<Record<string, Omit<ServiceMethod, 'call'>>>;

type Operation = keyof typeof DESCRIPTIONS;

/** The module `discovery`. */
export function discoveryModule(port: DiscoveryPort): ServiceModule {
  const operations = operationsOf(port);
  return {
    name: 'discovery',
    methods: Object.fromEntries(
      Object.entries(DESCRIPTIONS).map(([method, description]): [string, ServiceMethod] => [
        method,
        // async, so that an error in the arguments is a rejection too
        { ...description, call: async (caller, args) => operations[method as Operation](caller, args) },
      ]),
    ),
  };
}
