/** Key-value databases for modules: `context.kv`. A module reaches its own databases only. */
import { z } from 'zod';
import { CmbsError } from '../../errors';
import { argumentIn, requireCount, stepIn, textIn } from '../kv/arguments';
import type { Database, OperationOptions } from '../kv/database';
import type { KeyValues } from '../kv/key-values';
import { callerName, moduleScope, sessionOwner } from '../kv/places';
import type { PortCaller, PortFunction, PortFunctionTable } from '../port-function';
import type { Value } from '../value';

const mine = z.union([z.boolean(), z.literal('session')]).exactOptional();
const optionsSchema = z.strictObject({ mine });
const putSchema = z.strictObject({ mine, revision: z.string().exactOptional() });
const listSchema = z.strictObject({
  mine,
  prefix: z.string().exactOptional(),
  after: z.string().exactOptional(),
  limit: z.number().exactOptional(),
});
const commitSchema = z.strictObject({
  reads: z.array(z.strictObject({ key: z.string(), revision: z.string() })),
  writes: z.array(z.strictObject({ key: z.string(), value: z.custom<Value>().exactOptional() })),
});

type Mine = z.infer<typeof optionsSchema>['mine'];

/** The functions, by name. */
export function keyValueFunctions(keyValues: KeyValues): PortFunctionTable {
  const scopeOf = ({ module }: PortCaller) => moduleScope(module);
  /** An operation on the database that the first argument names. */
  const on =
    (
      counts: readonly [least: number, most: number],
      run: (database: Database, caller: PortCaller, args: readonly Value[]) => Promise<Value>,
    ): PortFunction =>
    (caller, args) => {
      requireCount(args, ...counts);
      return keyValues.use(scopeOf(caller), textIn(args, 0, 'the database'), (database) =>
        run(database, caller, args),
      );
    };
  return {
    'kv.register': async (caller, args) => {
      requireCount(args, 1, 1);
      const names = argumentIn(z.array(z.string()), args[0], 'names');
      await keyValues.register(scopeOf(caller), names, { signal: caller.signal });
      return null;
    },
    'kv.databases': (caller, args) => {
      requireCount(args, 0, 0);
      return keyValues.databases(scopeOf(caller), { signal: caller.signal });
    },
    'kv.get': on([2, 3], async (database, caller, args) => {
      const { mine: whose } = argumentIn(optionsSchema, args[2] ?? {}, 'options');
      const entry = await database.get(textIn(args, 1, 'the key'), operation(caller, whose));
      return entry === undefined ? null : { ...entry };
    }),
    'kv.put': on([3, 4], (database, caller, args) => {
      const { mine: whose, ...more } = argumentIn(putSchema, args[3] ?? {}, 'options');
      return database.put(textIn(args, 1, 'the key'), args[2], { ...operation(caller, whose), ...more });
    }),
    'kv.delete': on([2, 3], (database, caller, args) => {
      const { mine: whose, ...more } = argumentIn(putSchema, args[2] ?? {}, 'options');
      return database.delete(textIn(args, 1, 'the key'), { ...operation(caller, whose), ...more });
    }),
    'kv.list': on([1, 2], async (database, caller, args) => {
      const { mine: whose, ...more } = argumentIn(listSchema, args[1] ?? {}, 'options');
      const { entries, next } = await database.list({ ...operation(caller, whose), ...more });
      return { entries: entries.map((entry) => ({ ...entry })), next: next ?? null };
    }),
    'kv.increment': on([2, 4], (database, caller, args) => {
      const { mine: whose } = argumentIn(optionsSchema, args[3] ?? {}, 'options');
      return database.increment(textIn(args, 1, 'the key'), stepIn(args[2]), operation(caller, whose));
    }),
    'kv.commit': on([2, 3], async (database, caller, args) => {
      const change = argumentIn(commitSchema, args[1], 'the transaction');
      const { mine: whose } = argumentIn(optionsSchema, args[2] ?? {}, 'options');
      return (await database.commit(change, operation(caller, whose))) ?? null;
    }),
    'kv.size': on([1, 1], async (database) => ({ ...(await database.size()) })),
    'kv.drop': on([1, 1], async (database, { signal }) => ({ ...(await database.drop({ signal })) })),
  };
}

/** @throws CmbsError `bad_request` for data of a session where there is none */
function operation({ principal, session, signal }: PortCaller, whose: Mine): OperationOptions {
  if (whose === 'session') {
    if (session === undefined) throw new CmbsError('bad_request', 'The call has no session.');
    return { of: sessionOwner(session), signal };
  }
  return whose === true ? { of: callerName(principal), signal } : { signal };
}
