/** The module `acl`: the access rules, and what the caller may do (docs/services.md, docs/access.md). */
import { z } from 'zod';
import { RULE, RULE_KIND, RULES } from '../../access';
import { concurrently } from '../../concurrently';
import type { ExactJson } from '../../exact-json';
import type { ExactObject } from '../../occi';
import { OPERATIONS, type Resource } from '../../principal';
import { Fault } from '../fault';
import type { ServiceModule } from '../module';
import type { Services } from '../services';
import type { Value } from '../value';
import { attributeOf, listAll, pathIn, present } from './access-entities';
import { argumentsOf, shortText } from './arguments';
import type { DomainPorts, PortPrincipal } from './ports';

/** Levels whose rules are read at the same time. */
const LEVEL_CONCURRENCY = 8;

const texts = z.array(z.string().max(1000)).max(1000);
const ruleOptions = z.strictObject({
  name: shortText.optional(),
  from: z.string().max(100).optional(),
  until: z.string().max(100).optional(),
});
const listArguments = z.tuple([shortText.optional()]);
const writeArguments = z.tuple([shortText, texts.min(1), texts.min(1).optional(), ruleOptions.default({})]);
const removeArguments = z.tuple([shortText]);
const checkArguments = z.tuple([z.enum(OPERATIONS), shortText]);

const METHOD = 'method:';

/** The target that a caller names: `echo.echo` is a method, and `/cmbs/message/x` is an entity. */
function targetOf(given: string): string {
  if (given.startsWith('/')) return `entity:${given}`;
  return given.includes(':') ? given : METHOD + given;
}

const operationsOf = (target: string, given: readonly string[] | undefined): readonly string[] | undefined =>
  given ?? (target.startsWith(METHOD) ? ['service.call'] : undefined);

function ruleOf(entity: ExactObject): Value {
  return present({
    name: entity.id,
    target: attributeOf(entity, RULE.target),
    operations: attributeOf(entity, RULE.operations),
    order: attributeOf(entity, RULE.order),
    allow: attributeOf(entity, RULE.allow) ?? [],
    deny: attributeOf(entity, RULE.deny) ?? [],
    from: attributeOf(entity, RULE.from),
    until: attributeOf(entity, RULE.until),
  });
}

const RULE_SIGNATURES = [
  ['string', 'string', 'array'],
  ['string', 'string', 'array', 'array'],
  ['string', 'string', 'array', 'array', 'struct'],
];

/** @param services whose methods `check` knows */
export function aclModule(
  { entities, rights }: Pick<DomainPorts, 'entities' | 'rights'>,
  services: Pick<Services, 'describe'>,
): ServiceModule {
  /** Who may call a method where no rule decides. */
  const callersOf = (target: string): Resource['callers'] => {
    if (!target.startsWith(METHOD)) return undefined;
    try {
      return services.describe(target.slice(METHOD.length)).flags.callers;
    } catch (thrown) {
      // A module as a whole, or a method that does not exist yet.
      if (thrown instanceof Fault) return undefined;
      throw thrown;
    }
  };

  const rulesFor = async (caller: PortPrincipal, target: string): Promise<readonly Value[]> => {
    const levels = await rights.levels(caller, target);
    const found = new Map<string, readonly Value[]>();
    await concurrently(levels, LEVEL_CONCURRENCY, async (level) => {
      const filter = { attributes: { [RULE.target]: level } };
      found.set(level, await listAll({ entities, caller }, RULES, ruleOf, { filter }));
    });
    return levels.flatMap((level) => found.get(level) ?? []);
  };

  const write =
    (list: 'allow' | 'deny') =>
    async (caller: PortPrincipal, args: readonly Value[]): Promise<Value> => {
      const form = `${list}(target, subjects, operations, options)`;
      const [given, subjects, named, { name, from, until }] = argumentsOf(writeArguments, args, form);
      const target = targetOf(given);
      const operations = operationsOf(target, named);
      const attributes: Record<string, ExactJson | undefined> = {
        [RULE.target]: target,
        [RULE.operations]: operations,
        [RULE[list]]: subjects,
        [RULE.from]: from,
        [RULE.until]: until,
      };
      const rule = present({ kind: RULE_KIND, id: name, attributes: present(attributes) });
      const { location } = await entities.create(caller, rule);
      return location.slice(RULES.length);
    };

  return {
    name: 'acl',
    methods: {
      list: {
        documentation:
          'Returns the rules that count for a target, the most specific first: those for the target itself and for the ' +
          'levels above. A target is a text as in a rule, a path, or the name of a method or module (echo.echo). ' +
          'Without a target, returns all rules, 1000 at most. The caller gets the rules that the caller may read.',
        signatures: [['array'], ['array', 'string']],
        flags: { idempotent: true },
        call: async (caller, args) => {
          const [target] = argumentsOf(listArguments, args, 'list(target)');
          return target === undefined
            ? listAll({ entities, caller }, RULES, ruleOf)
            : rulesFor(caller, targetOf(target));
        },
      },
      allow: {
        documentation:
          'Writes a rule that allows the subjects (user:alice, group:ops, known) the operations on a target, and returns ' +
          'the name of the rule. Without operations, a rule for a method is about service.call, and any other rule about ' +
          'all operations. The options are `name`, `from` and `until` (RFC 3339). An owner writes rules for entities ' +
          'that the owner owns, and administrators all others.',
        signatures: RULE_SIGNATURES,
        call: write('allow'),
      },
      deny: {
        documentation:
          'Writes a rule that denies the subjects the operations on a target, with the arguments of allow.',
        signatures: RULE_SIGNATURES,
        call: write('deny'),
      },
      remove: {
        documentation: 'Deletes the rule of that name. Returns true.',
        signatures: [['boolean', 'string']],
        call: async (caller, args) => {
          const [name] = argumentsOf(removeArguments, args, 'remove(name)');
          await entities.delete(caller, pathIn(RULES, name));
          return true;
        },
      },
      check: {
        documentation:
          'Returns whether the caller may do an operation (such as message.send) on a target, which is written as for ' +
          'list.',
        signatures: [['boolean', 'string', 'string']],
        flags: { idempotent: true },
        call: async (caller, args) => {
          const [operation, given] = argumentsOf(checkArguments, args, 'check(operation, target)');
          const target = targetOf(given);
          return rights.may(caller, operation, target, callersOf(target));
        },
      },
    },
  };
}
