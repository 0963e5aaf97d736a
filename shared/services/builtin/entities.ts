/** The operations on entities with the arguments of a call, for modules of a directory: `context.entities.get(…)`. */
import { z } from 'zod';
import type { Value } from '../value';
import { anyObject, argumentsOf, shortText } from './arguments';
import type { EntityAccess, PortPrincipal } from './ports';

/** Entities on a page, by default and at most. */
const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

const conditions = { if_match: shortText.optional(), idempotency_key: shortText.optional() };
const listOptions = z.strictObject({
  filter: anyObject.optional(),
  q: z.string().max(10_000).optional(),
  number: z.int().min(1).max(MAX_PAGE).default(DEFAULT_PAGE),
  cursor: z.string().max(10_000).optional(),
});
const createOptions = z.strictObject({ idempotency_key: shortText.optional() });
const writeOptions = z.strictObject(conditions);
const actOptions = z.strictObject({ ...conditions, wait: z.number().min(0).max(86_400).optional() });

const getArguments = z.tuple([shortText]);
const listArguments = z.tuple([shortText, listOptions.prefault({})]);
const createArguments = z.tuple([anyObject, createOptions.default({})]);
const updateArguments = z.tuple([shortText, anyObject, writeOptions.default({})]);
const deleteArguments = z.tuple([shortText, writeOptions.default({})]);
const actArguments = z.tuple([shortText, shortText, anyObject.default({}), actOptions.default({})]);

type EntityCall = (caller: PortPrincipal, args: readonly Value[]) => Promise<Value>;

export function entityCalls(port: EntityAccess) {
  const get: EntityCall = async (caller, args) => {
    const [path] = argumentsOf(getArguments, args, 'get(path)');
    return port.get(caller, path);
  };
  const list: EntityCall = async (caller, args) => {
    const [path, options] = argumentsOf(listArguments, args, 'list(path, options)');
    return { ...(await port.list(caller, path, options)) };
  };
  const create: EntityCall = async (caller, args) => {
    const [entity, options] = argumentsOf(createArguments, args, 'create(entity, options)');
    return { ...(await port.create(caller, entity, options)) };
  };
  const update: EntityCall = async (caller, args) => {
    const [path, changes, options] = argumentsOf(updateArguments, args, 'update(path, changes, options)');
    return (await port.update(caller, path, changes, options)) ?? null;
  };
  const remove: EntityCall = async (caller, args) => {
    const [path, options] = argumentsOf(deleteArguments, args, 'delete(path, options)');
    await port.delete(caller, path, options);
    return null;
  };
  const act: EntityCall = async (caller, args) => {
    const form = 'act(path, action, attributes, options)';
    const [path, action, attributes, options] = argumentsOf(actArguments, args, form);
    return port.act(caller, path, action, attributes, options);
  };
  return { get, list, create, update, delete: remove, act };
}
