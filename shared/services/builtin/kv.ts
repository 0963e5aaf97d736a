/** The module `kv`: key-value databases of the caller, and for administrators those of everybody. */
import { CmbsError } from '../../errors';
import type { Principal } from '../../principal';
import { requireCount, stepIn, textIn } from '../kv/arguments';
import type { AnyEntry, Database, Entry, EntryPage } from '../kv/database';
import type { KeyValues } from '../kv/key-values';
import { callerScope, type Scope, scopeNamed } from '../kv/places';
import type { MethodFlags, ServiceContext, ServiceMethod, ServiceModule } from '../module';
import type { Struct, Value } from '../value';

export interface KeyValuePorts {
  readonly keyValues: KeyValues;
  /** Whether the principal may see and delete the databases of others. */
  readonly isAdministrator: (principal: Principal) => Promise<boolean>;
}

const CALLERS: MethodFlags = { callers: 'known' };
const READS: MethodFlags = { callers: 'known', idempotent: true };
/** By default only administrators; and never others, whatever a rule for all methods says. */
const ADMINISTRATORS: MethodFlags = { callers: 'administrators', idempotent: true };

const structOf = ({ key, value, revision, of }: AnyEntry): Struct => ({
  key,
  value,
  revision,
  ...(of === undefined ? {} : { of }),
});

/** XML-RPC has no null by default. */
const pageOf = ({ entries, next = '' }: EntryPage<AnyEntry>): Struct => ({ entries: entries.map(structOf), next });

/** A number of entries on a page; 0 for the default. */
function limitIn(value: Value | undefined): { readonly limit?: number } {
  return typeof value === 'number' && value !== 0 ? { limit: value } : {};
}

function found(entry: Entry | undefined, key: string): Struct {
  if (entry !== undefined) return structOf(entry);
  throw new CmbsError('not_found', `There is no entry ${JSON.stringify(key)} in this database.`);
}

export function keyValueModule({ keyValues, isAdministrator }: KeyValuePorts): ServiceModule {
  /** A method on the caller's database that the first argument names. */
  const own = (
    [least, most]: readonly [least: number, most: number],
    described: Omit<ServiceMethod, 'call'>,
    run: (database: Database, args: readonly Value[], context: ServiceContext) => Promise<Value>,
  ): ServiceMethod => ({
    ...described,
    call: (context, args) => {
      requireCount(args, least, most);
      return keyValues.use(callerScope(context.principal), textIn(args, 0, 'the name of a database'), (database) =>
        run(database, args, context),
      );
    },
  });
  const requireAdministrator = async (principal: Principal): Promise<void> => {
    if (await isAdministrator(principal)) return;
    throw new CmbsError('forbidden', 'Only administrators may use the databases of others.');
  };
  /** A method on the database whose owner and name the first two arguments are. */
  const any = (
    [least, most]: readonly [least: number, most: number],
    described: Omit<ServiceMethod, 'call' | 'flags'>,
    run: (database: Database, args: readonly Value[], context: ServiceContext) => Promise<Value>,
  ): ServiceMethod => ({
    ...described,
    flags: ADMINISTRATORS,
    call: async (context, args) => {
      await requireAdministrator(context.principal);
      requireCount(args, least, most);
      const scope: Scope = scopeNamed(textIn(args, 0, 'the owner of a database'));
      return keyValues.use(scope, textIn(args, 1, 'the name of a database'), (database) =>
        run(database, args, context),
      );
    },
  });
  return {
    name: 'kv',
    methods: {
      databases: {
        documentation: 'Returns the names of your key-value databases.',
        signatures: [['array']],
        flags: READS,
        call: ({ principal, signal }, args) => {
          requireCount(args, 0, 0);
          return keyValues.databases(callerScope(principal), { signal });
        },
      },
      get: own(
        [2, 2],
        {
          documentation:
            'Returns the entry with a key of one of your databases: a struct of key, value and revision. Without such an ' +
            'entry the fault has the code not_found.',
          signatures: [['struct', 'string', 'string']],
          flags: READS,
        },
        async (database, args, { signal }) => {
          const key = textIn(args, 1, 'a key');
          return found(await database.get(key, { signal }), key);
        },
      ),
      put: own(
        [3, 3],
        {
          documentation:
            'Writes the value of a key, and makes the database when there is none of this name. Returns the revision of ' +
            'the entry. A key has at most 512 bytes, a value 1,000,000 bytes as JSON.',
          signatures: [['string', 'string', 'string', 'any']],
          flags: { ...CALLERS, idempotent: true },
        },
        (database, args, { signal }) => database.put(textIn(args, 1, 'a key'), args[2], { signal }),
      ),
      put_if: own(
        [4, 4],
        {
          documentation:
            'Writes the value of a key only if the entry has the revision that is given last; an empty string means that ' +
            'there is no entry. Returns the new revision. Otherwise the fault has the code precondition_failed.',
          signatures: [['string', 'string', 'string', 'any', 'string']],
          flags: CALLERS,
        },
        (database, args, { signal }) =>
          database.put(textIn(args, 1, 'a key'), args[2], { revision: textIn(args, 3, 'a revision'), signal }),
      ),
      delete: own(
        [2, 3],
        {
          documentation:
            'Deletes an entry, and returns whether there was one. With a revision, only if the entry has this revision; ' +
            'otherwise the fault has the code precondition_failed.',
          signatures: [
            ['boolean', 'string', 'string'],
            ['boolean', 'string', 'string', 'string'],
          ],
          flags: { ...CALLERS, idempotent: true },
        },
        (database, args, { signal }) => {
          const revision = args.length > 2 ? { revision: textIn(args, 2, 'a revision') } : {};
          return database.delete(textIn(args, 1, 'a key'), { ...revision, signal });
        },
      ),
      list: own(
        [1, 4],
        {
          documentation:
            'Returns entries of a database in the order of their keys: a struct of entries and next. The further ' +
            'arguments are a prefix of the keys, the next of the page before (empty for the first page), and how many ' +
            'entries a page has at most, 1 to 1000; 0 means 100. A page with large values ends earlier. next is empty on ' +
            'the last page.',
          signatures: [
            ['struct', 'string'],
            ['struct', 'string', 'string'],
            ['struct', 'string', 'string', 'string'],
            ['struct', 'string', 'string', 'string', 'int'],
          ],
          flags: READS,
        },
        async (database, args, { signal }) => {
          const prefix = args.length > 1 ? textIn(args, 1, 'a prefix') : '';
          const after = args.length > 2 ? textIn(args, 2, 'the next of the page before') : '';
          return pageOf(
            await database.list({ prefix, ...(after === '' ? {} : { after }), ...limitIn(args[3]), signal }),
          );
        },
      ),
      increment: own(
        [2, 3],
        {
          documentation:
            'Adds a whole number, 1 without the last argument, to the value of a key, which counts as 0 when there is no ' +
            'entry. Returns the sum. The fault has the code conflict when the value is no whole number, or the sum has ' +
            'more than 64 bits.',
          signatures: [
            ['i8', 'string', 'string'],
            ['i8', 'string', 'string', 'i8'],
          ],
          flags: CALLERS,
        },
        (database, args) => database.increment(textIn(args, 1, 'a key'), stepIn(args[2])),
      ),
      size: own(
        [1, 1],
        {
          documentation:
            'Returns the number of entries of a database, and the bytes that they are charged for: keys and values in ' +
            'units of 1024 bytes.',
          signatures: [['struct', 'string']],
          flags: READS,
        },
        async (database) => ({ ...(await database.size()) }),
      ),
      drop: own(
        [1, 1],
        {
          documentation:
            'Deletes a database with all entries. Returns a struct of deleted, a number of entries, and done: when done is ' +
            'false, the database is large, and another call deletes more.',
          signatures: [['struct', 'string']],
          flags: { ...CALLERS, idempotent: true },
        },
        async (database, _args, { signal }) => ({ ...(await database.drop({ signal })) }),
      ),
      all_databases: {
        documentation:
          'For administrators: returns the databases of all modules and callers, a struct of owners and next. Each owner ' +
          'has owner, such as module:weather or user:alice, databases, and reserved_bytes. The argument is the next of ' +
          'the page before; next is empty on the last page.',
        signatures: [['struct'], ['struct', 'string']],
        flags: ADMINISTRATORS,
        call: async ({ principal, signal }, args) => {
          await requireAdministrator(principal);
          requireCount(args, 0, 1);
          const after = args.length > 0 ? textIn(args, 0, 'the next of the page before') : '';
          const { scopes, next = '' } = await keyValues.allDatabases(after === '' ? undefined : after, { signal });
          const owners = scopes.map(({ scope, databases, reservedBytes }) => ({
            owner: scope,
            databases,
            reserved_bytes: reservedBytes,
          }));
          return { owners, next };
        },
      },
      size_any: any(
        [2, 2],
        {
          documentation:
            'For administrators: as size, for the database of an owner; the owner is the first argument.',
          signatures: [['struct', 'string', 'string']],
        },
        async (database) => ({ ...(await database.size()) }),
      ),
      list_any: any(
        [2, 4],
        {
          documentation:
            'For administrators: returns all entries of the database of an owner, a struct of entries and next. Entries ' +
            'that belong to one caller or session have it in of. The further arguments are the next of the page before ' +
            '(empty for the first page), and how many entries a page has at most, as for list.',
          signatures: [
            ['struct', 'string', 'string'],
            ['struct', 'string', 'string', 'string'],
            ['struct', 'string', 'string', 'string', 'int'],
          ],
        },
        async (database, args, { signal }) => {
          const after = args.length > 2 ? textIn(args, 2, 'the next of the page before') : '';
          return pageOf(
            await database.listAll({ ...(after === '' ? {} : { after }), ...limitIn(args[3]), signal }),
          );
        },
      ),
      drop_any: any(
        [2, 2],
        {
          documentation:
            'For administrators: as drop, for the database of an owner; the owner is the first argument. Nothing else ' +
            'deletes the databases of a module that was removed, or of a user who was deleted.',
          signatures: [['struct', 'string', 'string']],
        },
        async (database, _args, { signal }) => ({ ...(await database.drop({ signal })) }),
      ),
    },
  };
}
