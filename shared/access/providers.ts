/** The providers of users, groups, tokens and rules: they check what is written, and keep secrets out of renderings. */
import type { Clock } from '../clock';
import { concurrently } from '../concurrently';
import { CmbsError } from '../errors';
import type { Json, JsonObject } from '../json';
import { NO_OWNERS, type Principal, SYSTEM } from '../principal';
import {
  attributeField,
  CATEGORY_FIELD,
  type CategoryId,
  type Change,
  type Completion,
  type Entity,
  ENTITIES,
  type Extension,
  indexText,
  keyField,
  OWNER_FIELD,
  type Provider,
  readEntity,
} from '../occi';
import type { Store, Transaction } from '../store';
import { isOwner, isPrefix } from './caller';
import { ACCESS_CATEGORIES, PREFIX_KEY } from './categories';
import {
  groupName,
  MAX_GROUP_DEPTH,
  MAX_OWN_RULES_OF_TARGET,
  MAX_OWN_RULES_OF_SUBJECT,
  MAX_RULES_OF_OWNER,
  MAX_RULES_OF_TARGET,
} from './directory';
import {
  hashPassword,
  MAX_PASSWORD_BYTES,
  newToken,
  type ScryptRuns,
  TOKEN_ID_PATTERN,
  USER_NAME_PATTERN,
} from './identities';
import {
  ADMINISTRATORS_GROUP,
  GROUP,
  GROUPS,
  GROUP_KIND,
  LOCATIONS,
  OWNED_MIXIN,
  RULE,
  RULE_KIND,
  TOKEN,
  TOKEN_KIND,
  USER,
  USERS,
  USER_KIND,
} from './names';
import {
  checkOperations,
  checkRule,
  checkSubjects,
  checkTargets,
  checkTime,
  MAX_MEMBERS_CHARS,
  OF_OWNER,
  ruleOf,
  targetOf,
} from './rule';
import { entityOf } from './targets';

/** Characters of a password, at least: shorter ones are guessed within the bounds on failed logins. */
const MIN_PASSWORD_CHARS = 8;

/** Passwords that one request sets: scrypt takes some 0.1 s for each, inside of the transaction. */
const MAX_PASSWORDS = 10;

/** What the providers need of the access model. */
export interface AccessProviders {
  readonly store: Pick<Store, 'count'>;
  readonly clock: Clock;
  /** Whether everything is allowed to everybody, so that rules may be written by everybody too. */
  readonly isOpen: boolean;
  /** Names of users who are administrators by configuration. */
  readonly administrators: readonly string[];
  readonly scryptRuns: ScryptRuns;
  readonly isAdministrator: (principal: Principal) => Promise<boolean>;
  /** Called after a change, so that it counts at once in this process. */
  readonly changed: () => void;
}

const refuse = (message: string): CmbsError => new CmbsError('bad_attribute', message);

export function accessExtension(access: AccessProviders): Extension {
  const changed = async (): Promise<void> => access.changed();
  return {
    ...ACCESS_CATEGORIES,
    providers: [
      userProvider(access, changed),
      groupProvider(access, changed),
      tokenProvider(changed),
      ruleProvider(access, changed),
    ],
    bindings: {
      [USER_KIND]: 'access_user',
      [GROUP_KIND]: 'access_group',
      [TOKEN_KIND]: 'access_token',
      [RULE_KIND]: 'access_rule',
    },
  };
}

type Changed = () => Promise<void>;

/** @throws CmbsError `bad_attribute` for an entity that would be handed over; `conflict` for an entity of an access kind elsewhere, or of a kind below it, which would give no rights */
function checkPlace({ path, id, kind, mixins }: Entity, own: CategoryId): void {
  if (mixins.includes(OWNED_MIXIN)) throw refuse(`An entity of ${own} cannot be handed over.`);
  if (kind === own && path === `${LOCATIONS[own] ?? ''}${id}`) return;
  throw new CmbsError(
    'conflict',
    `Entities of ${own} are at ${LOCATIONS[own] ?? ''}<name> only; choose that path.`,
  );
}

/** @throws CmbsError `bad_attribute` for a name or a password that a user cannot have */
export function checkUser(name: string, password: Json | undefined): void {
  if (!USER_NAME_PATTERN.test(name)) {
    throw refuse("A user's name has 1 to 64 letters, digits and . _ @ -, and begins with a letter or digit.");
  }
  if (NO_OWNERS.has(name)) throw refuse(`${name} is no name for a user; choose another one.`);
  if (password === undefined) return;
  if (typeof password !== 'string' || Array.from(password).length < MIN_PASSWORD_CHARS) {
    throw refuse(`${USER.password} takes ${MIN_PASSWORD_CHARS} characters at least.`);
  }
  if (Buffer.byteLength(password) > MAX_PASSWORD_BYTES) {
    throw refuse(`${USER.password} takes ${MAX_PASSWORD_BYTES} bytes at most.`);
  }
}

/**
 * An entity that belongs to the deployment: what an administrator made as such must not remain in the hands of somebody
 * who is no administrator any more. What was made while everything was open belongs to nobody already.
 */
const ofDeployment = (entity: Entity, isOpen: boolean): Entity =>
  isOpen ? entity : { ...entity, owner: SYSTEM.name };

function without(entity: Entity, name: string): Entity {
  const { [name]: _gone, ...attributes } = entity.attributes;
  return { ...entity, attributes };
}

function userProvider({ scryptRuns }: AccessProviders, changed: Changed): Provider {
  return {
    name: 'access_user',
    prepare: (next) => {
      checkPlace(next, USER_KIND);
      checkUser(next.id, next.attributes[USER.password]);
      // Users may change their own passwords, so they own themselves.
      return { ...next, owner: next.id };
    },
    complete: async (_tx, changes) => {
      const withPassword = changes.filter(({ next }) => next.attributes[USER.password] !== undefined);
      if (withPassword.length > MAX_PASSWORDS) {
        throw new CmbsError(
          'too_large',
          `One request sets ${MAX_PASSWORDS} passwords at most; send several requests.`,
        );
      }
      const entities: Entity[] = [];
      // One after the other: others want to log in meanwhile.
      for (const change of changes) entities.push(await withHash(change, scryptRuns));
      return { entities, afterwards: changed };
    },
    removed: changed,
  };
}

/** The entity with the hash of its new password, or the earlier hash, and without the password. */
async function withHash({ next, before }: Change, { run }: ScryptRuns): Promise<Entity> {
  const password = next.attributes[USER.password];
  const internal =
    typeof password === 'string'
      ? { password: (await hashPassword(password, run)) as unknown as JsonObject }
      : before?.internal;
  return { ...without(next, USER.password), ...(internal === undefined ? {} : { internal }) };
}

function groupProvider({ administrators, isOpen }: AccessProviders, changed: Changed): Provider {
  const hasAdministrators = (group: Entity | undefined): boolean => {
    if (administrators.length > 0) return true;
    const members = group?.attributes[GROUP.members];
    return Array.isArray(members) && members.some((member) => String(member).startsWith('user:'));
  };
  const keepAdministrators = (before: Entity, next: Entity | undefined): void => {
    if (before.id !== ADMINISTRATORS_GROUP || !hasAdministrators(before) || hasAdministrators(next)) return;
    throw new CmbsError('conflict', 'This would leave no administrator; name one in CMBS_ADMINISTRATORS first.');
  };
  return {
    name: 'access_group',
    prepare: (next, before) => {
      checkPlace(next, GROUP_KIND);
      checkSubjects(GROUP.members, next.attributes[GROUP.members], MAX_MEMBERS_CHARS);
      checkSubjects(GROUP.administrators, next.attributes[GROUP.administrators]);
      for (const name of [GROUP.members, GROUP.administrators]) {
        for (const subject of (next.attributes[name] ?? []) as readonly string[]) {
          if (/^(?:user|member|service):/.test(subject)) continue;
          throw refuse(`${name} takes user:…, member:… and service:… only.`);
        }
      }
      if (before !== undefined) keepAdministrators(before, next);
      return ofDeployment(next, isOpen);
    },
    complete: async (tx, changes) => {
      for (const { next } of changes) await checkParents(tx, next);
      return { entities: [], afterwards: changed };
    },
    removing: async (_tx, group) => {
      keepAdministrators(group, undefined);
      return () => undefined;
    },
    removed: changed,
  };
}

/** @throws CmbsError `conflict` for a group that is above itself, and for too many groups above one another */
async function checkParents(tx: Transaction, group: Entity): Promise<void> {
  const line = [group.id];
  let above = groupName(group.attributes[GROUP.parent]);
  if (above !== undefined && group.id === ADMINISTRATORS_GROUP) {
    throw new CmbsError('conflict', `The group ${ADMINISTRATORS_GROUP} has no group above it.`);
  }
  while (above !== undefined) {
    if (line.includes(above)) throw new CmbsError('conflict', `The group ${above} would be above itself.`);
    if (line.length === MAX_GROUP_DEPTH) {
      throw new CmbsError('conflict', `A group has ${MAX_GROUP_DEPTH - 1} groups above it at most.`);
    }
    line.push(above);
    const parent: Entity | undefined = (await readEntity(tx, GROUPS + above))?.entity;
    above = parent === undefined ? undefined : groupName(parent.attributes[GROUP.parent]);
  }
}

/** When the user was created. A user who is created later under the same name is a different user. */
export async function userSince(
  reader: Parameters<typeof readEntity>[0],
  name: string,
): Promise<number | undefined> {
  const user = (await readEntity(reader, USERS + name))?.entity;
  return user?.kind === USER_KIND ? user.createdAt : undefined;
}

function tokenProvider(changed: Changed): Provider {
  return {
    name: 'access_token',
    prepare: (next, before) => {
      checkPlace(next, TOKEN_KIND);
      checkTime(TOKEN.expiresAt, next.attributes[TOKEN.expiresAt]);
      checkTargets(TOKEN.targets, next.attributes[TOKEN.targets]);
      checkOperations(TOKEN.operations, next.attributes[TOKEN.operations]);
      if (before === undefined && !TOKEN_ID_PATTERN.test(next.id)) {
        throw refuse("A token's id has 1 to 64 letters, digits and hyphens.");
      }
      return next;
    },
    complete: async (tx, changes, { principal }) => {
      const ownerSince = USER_NAME_PATTERN.test(principal.name) ? await userSince(tx, principal.name) : undefined;
      const secrets: Record<string, string> = {};
      const entities: Entity[] = [];
      for (const { next, before } of changes) {
        if (before !== undefined) continue;
        if (principal.kind !== 'user') {
          throw new CmbsError('forbidden', 'A token belongs to a user; sign in as one to make a token.');
        }
        // Otherwise a token with few rights could make itself one with all rights of its owner.
        if (principal.token !== undefined) {
          throw new CmbsError('forbidden', 'A token makes no other token; sign in another way.');
        }
        const { text, secretHash } = newToken(next.id);
        secrets[next.path] = text;
        entities.push({
          ...next,
          internal: { secret: secretHash, ...(ownerSince === undefined ? {} : { ownerSince }) },
        });
      }
      return { entities, secrets, afterwards: changed } satisfies Completion;
    },
    removed: changed,
  };
}

function ruleProvider(access: AccessProviders, changed: Changed): Provider {
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

/** Kinds for whose entities only administrators write rules: who could change these could give more rights than the own. */
const WITHOUT_RULES_OF_OWNERS: ReadonlySet<string> = new Set([USER_KIND, TOKEN_KIND]);

/** The rule as its writer leaves it: of an owner, for what the owner has, or of the deployment. */
function ruleBy(
  { name }: Principal,
  { next, before }: Change,
  { isOpen }: AccessProviders,
  mayAll: boolean,
): Entity {
  // Otherwise the rule would also apply to an entity that another user creates at this path later.
  if (!mayAll) return { ...next, internal: { [OF_OWNER]: name } };
  // An administrator who only tags the rule of an owner leaves it what it is.
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
  const rulesWith = (field: string, value: string, atMost: number): Promise<number> =>
    store.count(
      {
        collection: ENTITIES,
        where: [
          { field: CATEGORY_FIELD, value: RULE_KIND },
          { field, value },
        ],
      },
      atMost,
    );
  const created = changes.filter(({ before }) => before === undefined).length;
  const owned = await rulesWith(OWNER_FIELD, indexText(name), MAX_RULES_OF_OWNER);
  if (created > 0 && owned + created > MAX_RULES_OF_OWNER) {
    throw new CmbsError(
      'conflict',
      `You have ${owned} rules; delete some, or ask an administrator for a wider rule.`,
    );
  }
  const named = new Map<string, number>();
  for (const { next, before } of changes) {
    const known = new Set(subjectsIn(before));
    for (const subject of subjectsIn(next)) {
      if (!known.has(subject)) named.set(subject, (named.get(subject) ?? 0) + 1);
    }
  }
  await concurrently(named, COUNT_CONCURRENCY, async ([subject, count]) => {
    const field = isPrefix(subject) ? keyField(RULE.allow) : attributeField(RULE.allow);
    const value = isPrefix(subject) ? PREFIX_KEY : indexText(subject);
    if ((await rulesWith(field, value, MAX_OWN_RULES_OF_SUBJECT)) + count <= MAX_OWN_RULES_OF_SUBJECT) return;
    throw new CmbsError(
      'conflict',
      `Very many rules name ${subject} already; ask an administrator for a wider rule.`,
    );
  });
}

const subjectsIn = (rule: Entity | undefined): readonly string[] => (rule === undefined ? [] : ruleOf(rule).allow);

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
