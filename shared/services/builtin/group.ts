/** The module `group`: groups of callers, as rules name them (docs/services.md, docs/access.md). */
import { z } from 'zod';
import { GROUP, GROUP_KIND, GROUPS } from '../../access';
import { CmbsError, toCmbsError } from '../../errors';
import type { ExactObject } from '../../occi';
import type { ServiceMethod, ServiceModule } from '../module';
import type { Value } from '../value';
import { attributeOf, listAll, pathIn, present } from './access-entities';
import { jsonArgumentsOf, shortText } from './arguments';
import type { EntityAccess, PortPrincipal } from './ports';

/** Attempts of a change of a list that another caller changes at the same time. */
const MAX_ATTEMPTS = 10;

const subjects = z.array(z.string().max(1000)).max(1000);
const groupOptions = z.strictObject({
  members: subjects.optional(),
  administrators: subjects.optional(),
  parent: z.string().max(1000).optional(),
});
const none = z.tuple([]);
const oneName = z.tuple([shortText]);
const createArguments = z.tuple([shortText, groupOptions.default({})]);
const changeArguments = z.tuple([shortText, subjects.min(1)]);

type List = 'members' | 'administrators';

const listIn = (group: ExactObject, list: List): readonly string[] =>
  (attributeOf(group, GROUP[list]) ?? []) as readonly string[];

export function groupModule(entities: EntityAccess): ServiceModule {
  /** Changes a list of a group. Loses no change that another caller makes at the same time. */
  const change = async (
    caller: PortPrincipal,
    args: readonly Value[],
    { form, list, next }: ListChange,
  ): Promise<Value> => {
    const [name, given] = jsonArgumentsOf(changeArguments, args, form);
    const path = pathIn(GROUPS, name);
    for (let attempt = 1; ; attempt += 1) {
      const group = await entities.get(caller, path);
      const before = listIn(group, list);
      const after = next(before, given);
      if (JSON.stringify(after) === JSON.stringify(before)) return [...before];
      try {
        const attributes = { [GROUP[list]]: after };
        await entities.update(caller, path, { attributes }, { if_match: group.etag as string });
        return [...after];
      } catch (thrown) {
        if (toCmbsError(thrown).code !== 'precondition_failed') throw thrown;
        if (attempt === MAX_ATTEMPTS) {
          throw new CmbsError('conflict', `The group ${name} changes all the time; try again.`, { cause: thrown });
        }
      }
    }
  };

  const reading = (list: List, what: string): ServiceMethod => ({
    documentation: `Returns the ${what} of a group. Those of the groups above are not listed.`,
    signatures: [['array', 'string']],
    flags: { idempotent: true },
    call: async (caller, args) => {
      const [name] = jsonArgumentsOf(oneName, args, `${list}(name)`);
      return listIn(await entities.get(caller, pathIn(GROUPS, name)), list);
    },
  });
  const adding = (form: string, list: List, what: string): ServiceMethod => ({
    documentation: `Adds ${what} to a group: user:alice, member:/cmbs/member/bob, service:name. Returns all of them.`,
    signatures: [['array', 'string', 'array']],
    flags: { idempotent: true },
    call: (caller, args) => change(caller, args, { form: `${form}(name, subjects)`, list, next: joined }),
  });
  const removing = (form: string, list: List, what: string): ServiceMethod => ({
    documentation: `Removes ${what} from a group. Returns those who are left.`,
    signatures: [['array', 'string', 'array']],
    flags: { idempotent: true },
    call: (caller, args) => change(caller, args, { form: `${form}(name, subjects)`, list, next: without }),
  });

  return {
    name: 'group',
    methods: {
      create: {
        documentation:
          'Creates a group. The options are `members`, `administrators` (who may read and change the group) and `parent` ' +
          '(the group above). Returns true. Administrators create groups.',
        signatures: [
          ['boolean', 'string'],
          ['boolean', 'string', 'struct'],
        ],
        call: async (caller, args) => {
          const [name, { members, administrators, parent }] = jsonArgumentsOf(
            createArguments,
            args,
            'create(name, options)',
          );
          const attributes = present({
            [GROUP.members]: members,
            [GROUP.administrators]: administrators,
            [GROUP.parent]: parent,
          });
          await entities.create(caller, { kind: GROUP_KIND, id: name, attributes });
          return true;
        },
      },
      delete: {
        documentation: 'Deletes a group. Returns true.',
        signatures: [['boolean', 'string']],
        call: async (caller, args) => {
          const [name] = jsonArgumentsOf(oneName, args, 'delete(name)');
          await entities.delete(caller, pathIn(GROUPS, name));
          return true;
        },
      },
      list: {
        documentation: 'Returns the names of the groups that the caller may read, 1000 at most.',
        signatures: [['array']],
        flags: { idempotent: true },
        call: async (caller, args) => {
          jsonArgumentsOf(none, args, 'list()');
          return listAll({ entities, caller }, GROUPS, ({ id = '' }) => id);
        },
      },
      members: reading('members', 'members'),
      administrators: reading('administrators', 'administrators'),
      add: adding('add', 'members', 'members'),
      remove: removing('remove', 'members', 'members'),
      add_administrators: adding('add_administrators', 'administrators', 'administrators'),
      remove_administrators: removing('remove_administrators', 'administrators', 'administrators'),
    },
  };
}

interface ListChange {
  readonly form: string;
  readonly list: List;
  readonly next: (before: readonly string[], given: readonly string[]) => readonly string[];
}

const joined = (before: readonly string[], given: readonly string[]): readonly string[] => [
  ...new Set([...before, ...given]),
];
const without = (before: readonly string[], given: readonly string[]): readonly string[] =>
  before.filter((one) => !given.includes(one));
