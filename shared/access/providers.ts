/** The providers of users, groups, tokens and rules: they check what is written, and keep secrets out of renderings. */
import { CmbsError } from '../errors';
import type { Json, JsonObject } from '../json';
import { NO_OWNERS, type Principal } from '../principal';
import {
  type Change,
  type Completion,
  type Entity,
  type Extension,
  type Path,
  type Provider,
  readEntity,
} from '../occi';
import type { Transaction } from '../store';
import { ACCESS_CATEGORIES } from './categories';
import { groupName, MAX_GROUP_DEPTH } from './directory';
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
  RULE_KIND,
  TOKEN,
  TOKEN_KIND,
  USER,
  USERS,
  USER_KIND,
} from './names';
import { type AccessProviders, type Changed, checkPlace, ofDeployment, refuse } from './provider-support';
import { checkOperations, checkSubjects, checkTargets, checkTime, MAX_MEMBERS_CHARS } from './rule';
import { ruleProvider } from './rule-provider';

/** Characters of a password, at least: shorter ones are guessed within the bounds on failed logins. */
const MIN_PASSWORD_CHARS = 8;

/** Passwords that one request sets: scrypt takes some 0.1 s for each, inside of the transaction. */
const MAX_PASSWORDS = 10;

/** The group above: its name or its path. */
const PARENT = /^(?:\/cmbs\/access\/group\/)?[^/]*$/;

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

/** When a caller was created who is a user of the store; undefined for every other caller. */
export const ownerSinceOf = async (
  reader: Parameters<typeof readEntity>[0],
  { kind, name }: Principal,
): Promise<number | undefined> =>
  kind === 'user' && USER_NAME_PATTERN.test(name) ? await userSince(reader, name) : undefined;

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
