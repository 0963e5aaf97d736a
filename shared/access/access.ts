/** The access model of a program: who its callers are, and what they may do. Open until identities are configured. */
import type { Clock } from '../clock';
import { CmbsError } from '../errors';
import type { Authorize, Principal } from '../principal';
import { type Cursors, type Extension, type Path, READABLE_CURSORS, readEntity, type Visibility } from '../occi';
import type { Store } from '../store';
import { Decisions } from './decisions';
import { type Directory, storedDirectory } from './directory';
import { groupsOf } from './groups';
import {
  ScryptRuns,
  type StoredPassword,
  type StoredToken,
  type Tokens,
  USER_NAME_PATTERN,
  type Users,
} from './identities';
import { TOKEN, TOKEN_KIND, TOKENS, USER_KIND, USERS } from './names';
import { accessExtension, ownerSinceOf, userSince } from './providers';
import { timeIn } from './rule';
import { SealedCursors } from './sealed-cursors';
import { EVERYWHERE, visibleParts } from './visible';

export interface AccessOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** Whether callers must be known; otherwise everything is allowed to everybody. */
  readonly isClosed: boolean;
  /** Names of users who are administrators by configuration. */
  readonly administrators: readonly string[];
  /** Id of the kind of members, which rules name as `member:<path>`. */
  readonly memberKind: string;
  /** The refusal for callers without credentials, with the challenges of the identities. */
  readonly unauthenticated: () => CmbsError;
  /** Runs scrypt for new passwords; shared with the logins of the process. */
  readonly scryptRuns?: ScryptRuns;
}

export interface Access {
  readonly authorize: Authorize;
  readonly visibility: Visibility;
  /** The form of cursors for callers, who must not learn of entities that they may not see. */
  readonly cursors: Cursors;
  /** The kinds of users, groups, tokens and rules, with their providers. */
  readonly extension: Extension;
  /** Whether the principal is an administrator. */
  isAdministrator(principal: Principal): Promise<boolean>;
  /** The names of the groups that the principal is in. */
  groups(principal: Principal): Promise<readonly string[]>;
  /** Reads everything again at the next decision: after a change that this process did not make. */
  forget(): void;
}

/** Everything is allowed to everybody; users, groups, tokens and rules can be prepared. */
export const openAccess = (store: Store, clock: Clock): Access =>
  accessOf({
    store,
    clock,
    isClosed: false,
    administrators: [],
    memberKind: '',
    unauthenticated: () => new CmbsError('unauthenticated', 'Everything is allowed without credentials.'),
  });

export function accessOf(options: AccessOptions): Access {
  const { store, clock, isClosed, administrators, memberKind, unauthenticated } = options;
  const { scryptRuns = new ScryptRuns({ clock }) } = options;
  const directory: Directory = storedDirectory(store, clock);
  const decisions = new Decisions({ directory, clock, administrators, memberKind, unauthenticated });
  const isAdministrator = (principal: Principal): Promise<boolean> => decisions.isAdministrator(principal);
  const extension = accessExtension({
    store,
    clock,
    isOpen: !isClosed,
    administrators,
    isAdministrator,
    scryptRuns,
    changed: () => decisions.forget(),
  });
  const groups = async (principal: Principal): Promise<readonly string[]> => [
    ...(await groupsOf(principal, directory)).value.names,
  ];
  if (!isClosed) {
    return {
      groups,
      authorize: async () => undefined,
      visibility: { partsFor: async () => undefined, maySee: async () => true, known: () => true },
      cursors: READABLE_CURSORS,
      extension,
      isAdministrator: async () => true,
      forget: () => undefined,
    };
  }
  return {
    groups,
    authorize: decisions.authorize,
    visibility: {
      partsFor: async (principal) => {
        // A token may have fewer rights than the administrator whose it is, so each entity is decided.
        if (await isAdministrator(principal)) return principal.token === undefined ? undefined : EVERYWHERE;
        return visibleParts(principal, { directory, clock });
      },
      maySee: async (principal, resource) =>
        (await decisions.decide(principal, 'entity.read', resource)) === 'allow',
      known: (principal, resource) => {
        const verdict = decisions.known(principal, 'entity.read', resource);
        return verdict === undefined ? undefined : verdict === 'allow';
      },
    },
    cursors: new SealedCursors(store),
    extension,
    isAdministrator,
    forget: () => decisions.forget(),
  };
}

/** Users and their passwords in the store. Not kept in memory, so that a changed password counts at once. */
export function storedUsers(store: Store): Users {
  return {
    password: async (name) => {
      const entity = (await readEntity(store, USERS + name))?.entity;
      if (entity?.kind !== USER_KIND) return undefined;
      return entity.internal?.password as unknown as StoredPassword | undefined;
    },
  };
}

/**
 * Tells whether a caller is still the one of earlier, for work that is done later: whether the access token still counts,
 * as at a login, and the user is the one who was created at `ownerSince`. Whether a user still exists is part of each
 * decision.
 */
export function callerCheck(
  store: Store,
  clock: Pick<Clock, 'now'>,
): (principal: Principal, ownerSince?: number) => Promise<boolean> {
  const tokens = storedTokens(store);
  return async (principal, ownerSince) => {
    const { token } = principal;
    // A user who was made again under the name of a former one is another user.
    if (ownerSince !== undefined && (await ownerSinceOf(store, principal)) !== ownerSince) return false;
    if (token === undefined) return true;
    const found = token.startsWith(TOKENS) ? await tokens.find(token.slice(TOKENS.length)) : undefined;
    return found !== undefined && (found.expiresAt === undefined || clock.now() < found.expiresAt);
  };
}

/** Access tokens in the store. Not kept in memory, so that a deleted token is refused at once. */
export function storedTokens(store: Store): Tokens {
  return {
    find: async (id): Promise<StoredToken | undefined> => {
      const path: Path = TOKENS + id;
      const entity = (await readEntity(store, path))?.entity;
      const secretHash = entity?.internal?.secret;
      if (entity?.kind !== TOKEN_KIND || typeof secretHash !== 'string') return undefined;
      // The token of a deleted user is worth nothing.
      if (USER_NAME_PATTERN.test(entity.owner)) {
        const since = await userSince(store, entity.owner);
        if (since === undefined || since !== entity.internal?.ownerSince) return undefined;
      }
      return { path, secretHash, expiresAt: timeIn(entity.attributes[TOKEN.expiresAt]), owner: entity.owner };
    },
  };
}
