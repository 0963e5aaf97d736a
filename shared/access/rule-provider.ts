/** The provider of rules: who may write which, and how many. */
import { concurrently } from '../concurrently';
import { CmbsError } from '../errors';
import {
  attributeField,
  CATEGORY_FIELD,
  type Change,
  ENTITIES,
  type Entity,
  indexText,
  keyField,
  OWNER_FIELD,
  type Provider,
  readEntity,
} from '../occi';
import type { Principal } from '../principal';
import type { Store, Transaction } from '../store';
import { isOwner, isPrefix } from './caller';
import { PREFIX_KEY } from './categories';
import {
  MAX_OWN_RULES_OF_SUBJECT,
  MAX_OWN_RULES_OF_TARGET,
  MAX_RULES_OF_OWNER,
  MAX_RULES_OF_TARGET,
} from './directory';
import { RULE, RULE_KIND, TOKEN_KIND, USER_KIND } from './names';
import { type AccessProviders, type Changed, checkPlace, ofDeployment } from './provider-support';
import { checkRule, OF_OWNER, ruleOf, targetOf } from './rule';
import { entityOf } from './targets';

export function ruleProvider(access: AccessProviders, changed: Changed): Provider {
  const { isOpen, isAdministrator } = access;
  return {
    name: 'access_rule',
    prepare: (next) => {
      checkPlace(next, RULE_KIND);
      checkRule(next);
      return next;
    },
    complete: async (tx, changes, { principal }) => {
      const mayAll = isOpen || (await isAdministrator(principal));
      const notes: string[] = [];
      const entities: Entity[] = [];
      /** New rules of the request, by target. */
      const added = new Map<string, number>();
      for (const { next, before } of changes) {
        const target = targetOf(next);
        const about = entityOf(target);
        const entity = about === undefined ? undefined : (await readEntity(tx, about))?.entity;
        if (!mayAll && (!isOwner(principal, entity?.owner) || WITHOUT_RULES_OF_OWNERS.has(entity?.kind ?? ''))) {
          throw new CmbsError(
            'forbidden',
            `Only administrators, and the owner of an entity, write rules for ${target}.`,
          );
        }
        if (about !== undefined && entity === undefined) {
          notes.push(`There is nothing at ${about} yet; the rule counts once there is.`);
        }
        if (before?.attributes[RULE.target] !== target) added.set(target, (added.get(target) ?? 0) + 1);
        entities.push(ruleBy(principal, { next, before }, access, mayAll));
      }
      for (const [target, count] of added) await checkRoom(tx, target, count, mayAll);
      if (!mayAll) await checkQuotas(access.store, principal, changes);
      return { entities, notes, afterwards: changed };
    },
    removed: changed,
  };
}

/** Kinds for whose entities only administrators write rules: an owner's rule could give others the owner's account. */
const WITHOUT_RULES_OF_OWNERS: ReadonlySet<string> = new Set([USER_KIND, TOKEN_KIND]);

/** The rule with its writer: an owner's rule counts for what that owner has, an administrator's belongs to the deployment. */
function ruleBy(
  { name }: Principal,
  { next, before }: Change,
  { isOpen }: AccessProviders,
  mayAll: boolean,
): Entity {
  // Otherwise the rule would also apply to an entity that another user creates at this path later.
  if (!mayAll) return { ...next, internal: { [OF_OWNER]: name } };
  // A rule that an administrator only tags stays the owner's rule.
  const isOfOwner = before?.internal?.[OF_OWNER] !== undefined;
  if (isOfOwner && JSON.stringify(ruleOf(next)) === JSON.stringify(ruleOf(before))) return next;
  const { internal: _ofOwner, ...rule } = next;
  return ofDeployment(rule, isOpen);
}

/**
 * Bounds what listings read because of owners' rules. Counted outside of the transaction, so that several requests at the
 * same time may exceed the bounds a little; the rest of the room is for administrators.
 * @throws CmbsError `conflict`
 */
async function checkQuotas(
  store: Pick<Store, 'count'>,
  { name }: Principal,
  changes: readonly Change[],
): Promise<void> {
  const own = [
    { field: CATEGORY_FIELD, value: RULE_KIND },
    { field: OWNER_FIELD, value: indexText(name) },
  ];
  const rulesWith = (more: { readonly field: string; readonly value: string } | undefined, atMost: number) =>
    store.count({ collection: ENTITIES, where: more === undefined ? own : [...own, more] }, atMost);
  const created = changes.filter(({ before }) => before === undefined).length;
  const owned = await rulesWith(undefined, MAX_RULES_OF_OWNER);
  if (created > 0 && owned + created > MAX_RULES_OF_OWNER) {
    throw new CmbsError(
      'conflict',
      `You have ${owned} rules; delete some, or ask an administrator for a wider rule.`,
    );
  }
  const named = new Map<string, number>();
  for (const { next, before } of changes) {
    const known = countedSubjects(before);
    for (const subject of countedSubjects(next)) {
      if (!known.has(subject)) named.set(subject, (named.get(subject) ?? 0) + 1);
    }
  }
  if (named.size > MAX_NEW_SUBJECTS) {
    throw new CmbsError('too_large', `One request names ${MAX_NEW_SUBJECTS} new callers at most; use groups.`);
  }
  await concurrently(named, COUNT_CONCURRENCY, async ([subject, count]) => {
    const counted =
      subject === PREFIXES
        ? { field: keyField(RULE.allow), value: PREFIX_KEY }
        : { field: attributeField(RULE.allow), value: indexText(subject) };
    if ((await rulesWith(counted, MAX_OWN_RULES_OF_SUBJECT)) + count <= MAX_OWN_RULES_OF_SUBJECT) return;
    throw new CmbsError(
      'conflict',
      `You have ${MAX_OWN_RULES_OF_SUBJECT} rules for ${subject} already; delete some, or ask an administrator.`,
    );
  });
}

/** The subjects of a rule as they are counted. */
const countedSubjects = (rule: Entity | undefined): ReadonlySet<string> =>
  new Set((rule === undefined ? [] : ruleOf(rule).allow).map((one) => (isPrefix(one) ? PREFIXES : one)));

/** All subjects with a prefix: a listing reads the rules of all of them. */
const PREFIXES = 'prefix:…';
/** Callers whom the new rules of one request name. */
const MAX_NEW_SUBJECTS = 200;
/** Subjects whose rules are counted at the same time. */
const COUNT_CONCURRENCY = 16;

/** @throws CmbsError `conflict` when a target has as many rules as a decision reads */
async function checkRoom(tx: Transaction, target: string, added: number, mayAll: boolean): Promise<void> {
  const most = mayAll ? MAX_RULES_OF_TARGET : MAX_OWN_RULES_OF_TARGET;
  const where = [
    { field: CATEGORY_FIELD, value: RULE_KIND },
    { field: attributeField(RULE.target), value: indexText(target) },
  ];
  const { docs } = await tx.query({ collection: ENTITIES, where, limit: most });
  if (docs.length + added <= most) return;
  throw new CmbsError('conflict', `${target} has ${docs.length} rules already; name a group in one of them.`);
}
