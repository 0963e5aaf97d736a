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
  type Path,
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

/** The group above: its name or its path. */
const PARENT = /^(?:\/cmbs\/access\/group\/)?[^/]*$/;

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

function userProvider({ scryptRuns, administrators }: AccessProviders, changed: Changed): Provider {
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
    removing: async (tx, { id }) => {
      // A request may delete several users, so none of the administrators is deleted, not only the last one.
      if (administrators.includes(id)) {
        throw new CmbsError('conflict', `${id} is an administrator by CMBS_ADMINISTRATORS and stays.`);
      }
      const group = administrators.length > 0 ? undefined : await readEntity(tx, GROUPS + ADMINISTRATORS_GROUP);
      if (administratorsIn(group?.entity).includes(id)) {
        throw new CmbsError(
          'conflict',
          `${id} is an administrator; take it out of ${ADMINISTRATORS_GROUP} first.`,
        );
      }
      return () => undefined;
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

/** Names of the users whom the group of administrators lists. */
function administratorsIn(group: Entity | undefined): readonly string[] {
  const members = group?.attributes[GROUP.members];
  const listed = Array.isArray(members) ? members.map(String) : [];
  return listed.filter((member) => member.startsWith('user:')).map((member) => member.slice('user:'.length));
}

/** Whether one of the users can log in: one of an issuer or a proxy, or one that exists. */
async function areSome(tx: Transaction, names: readonly string[]): Promise<boolean> {
  for (const name of names) {
    if (!USER_NAME_PATTERN.test(name) || (await readEntity(tx, USERS + name)) !== undefined) return true;
  }
  return false;
}

function groupProvider({ administrators, isOpen }: AccessProviders, changed: Changed): Provider {
  /** @throws CmbsError `conflict` for a change of the group that leaves no administrator */
  const keepAdministrators = async (tx: Transaction, before: Entity, next: Entity | undefined): Promise<void> => {
    if (before.id !== ADMINISTRATORS_GROUP || administrators.length > 0) return;
    if ((await areSome(tx, administratorsIn(next))) || !(await areSome(tx, administratorsIn(before)))) return;
    throw new CmbsError('conflict', 'This would leave no administrator; name one in CMBS_ADMINISTRATORS first.');
  };
  return {
    name: 'access_group',
    prepare: (next) => {
      checkPlace(next, GROUP_KIND);
      checkSubjects(GROUP.members, next.attributes[GROUP.members], MAX_MEMBERS_CHARS);
      checkSubjects(GROUP.administrators, next.attributes[GROUP.administrators]);
      for (const name of [GROUP.members, GROUP.administrators]) {
        for (const subject of (next.attributes[name] ?? []) as readonly string[]) {
          if (/^(?:user|member|service):/.test(subject)) continue;
          throw refuse(`${name} takes user:…, member:… and service:… only.`);
        }
      }
      const parent = next.attributes[GROUP.parent];
      if (typeof parent === 'string' && !PARENT.test(parent)) {
        throw refuse(`${GROUP.parent} takes the name of a group, or its path ${GROUPS}<name>.`);
      }
      return ofDeployment(next, isOpen);
    },
    complete: async (tx, changes) => {
      const written = new Map(changes.map(({ next }) => [next.path, next]));
      for (const { next, before } of changes) {
        await checkParents(tx, next, written);
        if (before !== undefined) await keepAdministrators(tx, before, next);
      }
      return { entities: [], afterwards: changed };
    },
    removing: async (tx, group) => {
      await keepAdministrators(tx, group, undefined);
      return () => undefined;
    },
    removed: changed,
  };
}

/**
 * @param written groups that the same request writes
 * @throws CmbsError `conflict` for a group that is above itself, and for too many groups above one another
 */
async function checkParents(tx: Transaction, group: Entity, written: ReadonlyMap<Path, Entity>): Promise<void> {
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
    const path: Path = GROUPS + above;
    const parent: Entity | undefined = written.get(path) ?? (await readEntity(tx, path))?.entity;
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
