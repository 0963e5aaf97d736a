/** The categories of the access extension: users, groups, tokens, rules, and the owner of an entity. */
import {
  type AttributeSpec,
  type AttributeSpecs,
  type Extension,
  indexText,
  type Kind,
  type Mixin,
  type Path,
  RESOURCE_KIND,
} from '../occi';
import { CmbsError } from '../errors';
import type { Json } from '../json';
import { principalOf } from '../principal';
import { isSubject } from './caller';
import { levelAbove } from './entity-rules';
import {
  ACCESS_SCHEME,
  GROUP,
  GROUPS,
  OWNED,
  OWNED_ENTITIES,
  RULE,
  RULES,
  TOKEN,
  TOKENS,
  USER,
  USERS,
} from './names';

const text = (description: string, more: Partial<AttributeSpec> = {}): AttributeSpec => ({
  type: 'string',
  required: false,
  mutable: true,
  lenient: false,
  description,
  ...more,
});
const texts = (description: string, more: Partial<AttributeSpec> = {}): AttributeSpec =>
  text(description, { type: 'array', ...more });

const kind = (term: string, title: string, location: Path, attributes: AttributeSpecs): Kind => ({
  class: 'kind',
  dialect: 'gfd226',
  term,
  scheme: ACCESS_SCHEME,
  title,
  parent: RESOURCE_KIND,
  attributes,
  actions: [],
  location,
  origin: 'extension',
});

/** The key under which a list of subjects with a prefix is found: a caller's name does not tell which prefixes it has. */
export const PREFIX_KEY = 'prefix';

const userKind = kind('user', 'User', USERS, {
  [USER.password]: text('Password of at least 8 characters; written and never shown'),
});
const groupKind = kind('group', 'Group', GROUPS, {
  [GROUP.members]: texts('Members: user:alice, member:/cmbs/member/bob'),
  [GROUP.administrators]: texts('Who may change the members, of the groups below too'),
  [GROUP.parent]: text('Path or name of the group above; its members count as members of this group'),
});
const tokenKind = kind('token', 'Access token', TOKENS, {
  [TOKEN.title]: text('What the token is for'),
  [TOKEN.expiresAt]: text('RFC 3339 time from which the token is refused'),
  [TOKEN.targets]: texts('Targets of rules that the token is limited to; none: all', {
    mutable: false,
    once: true,
  }),
  [TOKEN.operations]: texts('Operations that the token is limited to; none: all', { mutable: false, once: true }),
});
const ruleKind = kind('rule', 'Rule', RULES, {
  [RULE.target]: text('What the rule is about: entity:/cmbs/message/, topic:news.>, member:/cmbs/member/bob', {
    required: true,
    keysOf: (target) => {
      const level = typeof target === 'string' ? levelAbove(target) : undefined;
      return level === undefined ? [] : [indexText(level)];
    },
  }),
  [RULE.operations]: texts('Operations that the rule is about: entity.read, inbox.*; none: all'),
  [RULE.order]: text('allow,deny: a denial wins for callers in both lists; deny,allow: the permission', {
    default: 'allow,deny',
    pattern: { form: 'regex', source: 'allow,deny|deny,allow' },
  }),
  [RULE.allow]: texts('Callers who may: user:alice, group:ops, prefix:…, member:…, owner, known, everybody', {
    keysOf: (subjects) =>
      Array.isArray(subjects) &&
      subjects.some((subject) => typeof subject === 'string' && subject.startsWith('prefix:'))
        ? [PREFIX_KEY]
        : [],
  }),
  [RULE.deny]: texts('Callers who may not'),
  [RULE.from]: text('RFC 3339 time from which the rule counts'),
  [RULE.until]: text('RFC 3339 time from which the rule no longer counts'),
});

const ownedMixin: Mixin = {
  class: 'mixin',
  dialect: 'gfd226',
  term: 'owned',
  scheme: ACCESS_SCHEME,
  title: 'Owned',
  depends: [],
  applies: [],
  actions: [],
  attributes: {
    [OWNED.by]: text('Owner of the entity: user:alice; a change hands the entity over', {
      required: true,
      ownerOf,
    }),
  },
  location: OWNED_ENTITIES,
  origin: 'extension',
};

/** @throws CmbsError `bad_attribute` for a text that names no possible owner */
function ownerOf(value: Json): string {
  const [, kind, name] = /^(user|member):(\S(?:.*\S)?)$/.exec(typeof value === 'string' ? value : '') ?? [];
  if (name !== undefined && isSubject(`${kind}:${name}`) && principalOf(name)?.kind === kind) return name;
  throw new CmbsError('bad_attribute', `${OWNED.by} takes user:<name> or member:<path>.`);
}

const KINDS = [userKind, groupKind, tokenKind, ruleKind];

/** The access extension without providers: for a program that does not act on its entities. */
export const ACCESS_CATEGORIES: Extension = {
  name: 'access',
  categories: [...KINDS, ownedMixin],
  providers: [],
  bindings: {},
};
