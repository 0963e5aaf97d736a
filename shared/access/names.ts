/** Identifiers, paths and attribute names of the access kinds. */
import type { CategoryId, Path } from '../occi';

export const ACCESS_SCHEME = 'http://houssem.org/cmbs/access#';

export const USER_KIND: CategoryId = `${ACCESS_SCHEME}user`;
export const GROUP_KIND: CategoryId = `${ACCESS_SCHEME}group`;
export const TOKEN_KIND: CategoryId = `${ACCESS_SCHEME}token`;
export const RULE_KIND: CategoryId = `${ACCESS_SCHEME}rule`;

/** The mixin whose attribute names the owner of an entity. */
export const OWNED_MIXIN: CategoryId = `${ACCESS_SCHEME}owned`;

export const ACCESS = '/cmbs/access/';
export const USERS: Path = `${ACCESS}user/`;
export const GROUPS: Path = `${ACCESS}group/`;
export const TOKENS: Path = `${ACCESS}token/`;
export const RULES: Path = `${ACCESS}rule/`;
export const OWNED_ENTITIES: Path = `${ACCESS}owned/`;

/** The collection of each access kind; entities of these kinds are nowhere else. */
export const LOCATIONS: Readonly<Record<CategoryId, Path>> = {
  [USER_KIND]: USERS,
  [GROUP_KIND]: GROUPS,
  [TOKEN_KIND]: TOKENS,
  [RULE_KIND]: RULES,
};

export const USER = { password: 'cmbs.access.user.password' } as const;
export const GROUP = {
  members: 'cmbs.access.group.members',
  administrators: 'cmbs.access.group.administrators',
  parent: 'cmbs.access.group.parent',
} as const;
export const OWNED = { by: 'cmbs.access.owned.by' } as const;
export const TOKEN = {
  title: 'cmbs.access.token.name',
  expiresAt: 'cmbs.access.token.expires_at',
  targets: 'cmbs.access.token.targets',
  operations: 'cmbs.access.token.operations',
} as const;
export const RULE = {
  target: 'cmbs.access.rule.target',
  operations: 'cmbs.access.rule.operations',
  order: 'cmbs.access.rule.order',
  allow: 'cmbs.access.rule.allow',
  deny: 'cmbs.access.rule.deny',
  from: 'cmbs.access.rule.from',
  until: 'cmbs.access.rule.until',
} as const;

/** The group whose members are the administrators. */
export const ADMINISTRATORS_GROUP = 'admins';
