/** What decisions read: rules by target, groups, users and tokens, each kept for {@link KEEP_MS}. */
import type { Clock } from '../clock';
import {
  CATEGORY_FIELD,
  attributeField,
  ENTITIES,
  entitiesOf,
  type Entity,
  indexText,
  keyField,
  readEntity,
} from '../occi';
import { type Operation, type Principal, principalOf } from '../principal';
import type { Store } from '../store';
import { isPrefix, type Subject } from './caller';
import { PREFIX_KEY } from './categories';
import { EntityRules, levelAbove, MAX_TOGETHER } from './entity-rules';
import { USER_NAME_PATTERN } from './identities';
import { type Kept, KeptAnswers } from './kept';
import {
  GROUP,
  GROUPS,
  GROUP_KIND,
  LOCATIONS,
  RULE,
  RULE_KIND,
  TOKEN,
  TOKEN_KIND,
  USERS,
  USER_KIND,
} from './names';
import { denialOf, type Rule, ruleOf, timeIn } from './rule';
import { includesOperation } from './targets';

/** Milliseconds for which an answer is kept: with a read and a decision, changes count everywhere within 2 seconds. */
export const KEEP_MS = 1500;
/** Rules of one target; the provider refuses more, so that a decision is one page. With more, everything is denied. */
export const MAX_RULES_OF_TARGET = 100;
/** Rules of one target that its owner may write; the rest is room for administrators. */
export const MAX_OWN_RULES_OF_TARGET = 50;
/** Rules of one owner who is no administrator, since each listing reads the rules that name everybody. */
export const MAX_RULES_OF_OWNER = 200;
/** Groups that one caller is in. One more is read, which tells that there are others. */
export const MAX_GROUPS_OF_CALLER = 200;
/** Groups above a group. */
export const MAX_GROUP_DEPTH = 16;
/** Characters of the answers of each sort in memory. */
const MAX_ANSWER_CHARS = 4 * 1024 * 1024;

/** Rules that one listing reads for one subject. */
export const MAX_RULES_OF_SUBJECT = 1000;
/** Rules of one owner for one subject, since each listing of the subject reads them. */
export const MAX_OWN_RULES_OF_SUBJECT = 100;

export interface Group {
  /** Administrators of the group and of all groups above it. */
  readonly administrators: readonly Subject[];
}

/** Operations that let a caller see an entity: callers who may send to a member see its description. */
const SHOWING: readonly Operation[] = ['entity.read', 'message.receive'];

/** What rules show: the targets that they allow to see. */
export interface Shown {
  readonly rules: readonly ShowingRule[];
  /** False where there are more than {@link MAX_RULES_OF_SUBJECT} rules, of which only some are here. */
  readonly isWhole: boolean;
}

/** The part of a rule that a listing needs. */
export interface ShowingRule extends Pick<Rule, 'target' | 'from' | 'until'> {
  /** The prefixes among the subjects, for rules that are found by them. */
  readonly prefixes?: readonly Subject[];
}

export interface TokenRights {
  /** Name of the user whose token it is. */
  readonly owner: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number | undefined;
  /** None: all. */
  readonly targets: readonly string[];
  readonly operations: readonly string[];
}

export interface Directory {
  rules(target: string): Promise<Kept<readonly Rule[]>>;
  /** Names of the groups that list the subject (`user:alice`) as a member. */
  memberships(subject: string): Promise<Kept<readonly string[]>>;
  /** Undefined for a group that does not exist: a rule may name it before it is made. */
  group(name: string): Promise<Kept<Group | undefined>>;
  token(path: string): Promise<Kept<TokenRights | undefined>>;
  /** What rules show to the subject. */
  shown(subject: string): Promise<Kept<Shown>>;
  /** What rules show to callers by a prefix of their names. */
  shownToPrefixes(): Promise<Kept<Shown>>;
  /** Names of the groups that list the subject as an administrator. */
  administered(subject: string): Promise<Kept<readonly string[]>>;
  /** Names of the groups right below a group; {@link MAX_GROUPS_OF_CALLER} and one more at most. */
  below(group: string): Promise<Kept<readonly string[]>>;
  /** The user or the member that a member belongs to; undefined if there is none, or nobody owns it. */
  ownerOfMember(path: string): Promise<Kept<Principal | undefined>>;
  /** Whether there is a user of that name in the store. */
  user(name: string): Promise<Kept<boolean>>;
  forget(): void;
}

const strings = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];

/** Characters of an answer as JSON. */
const charsOf = (answer: unknown): number => (answer === undefined ? 0 : JSON.stringify(answer).length);

/** The name of a group in `.parent`, which may be a path. */
export const groupName = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value.slice(value.lastIndexOf('/') + 1) : undefined;

export function storedDirectory(store: Store, clock: Clock, keepMs = KEEP_MS): Directory {
  const kept = <T>(ask: (key: string) => Promise<T>): KeptAnswers<T> =>
    new KeptAnswers({ clock, keepMs, maxChars: MAX_ANSWER_CHARS, charsOf, ask });

  async function entitiesWith(
    kind: string,
    field: string,
    value: string,
    limit: number,
  ): Promise<readonly Entity[]> {
    const where = [
      { field: CATEGORY_FIELD, value: kind },
      { field, value: indexText(value) },
    ];
    const { docs } = await store.query({ collection: ENTITIES, where, limit });
    // Kinds below these kinds, and other places, give no rights.
    return (await entitiesOf(store, docs))
      .map(({ entity }) => entity)
      .filter((found) => found.kind === kind && found.path === `${LOCATIONS[kind] ?? ''}${found.id}`);
  }

  async function entity(path: string, kind: string): Promise<Entity | undefined> {
    const found = (await readEntity(store, path))?.entity;
    return found?.kind === kind ? found : undefined;
  }

  const rules = kept(async (target) => {
    const found = await entitiesWith(RULE_KIND, attributeField(RULE.target), target, MAX_RULES_OF_TARGET + 1);
    // Nobody can say which of so many rules to leave out.
    return found.length > MAX_RULES_OF_TARGET ? [denialOf(target)] : found.map(ruleOf);
  });
  const rulesRightBelow = kept(async (level) => {
    const found = await entitiesWith(RULE_KIND, keyField(RULE.target), level, MAX_TOGETHER + 1);
    return found.length > MAX_TOGETHER ? undefined : found.map(ruleOf);
  });
  const entityRules = new EntityRules({
    one: (target) => rules.get(target),
    all: (level) => rulesRightBelow.get(level),
  });
  const memberships = kept(async (subject) => {
    const found = await entitiesWith(GROUP_KIND, attributeField(GROUP.members), subject, MAX_GROUPS_OF_CALLER + 1);
    return found.map(({ id }) => id);
  });
  const groups = kept(async (name): Promise<Group | undefined> => {
    const line: string[] = [];
    const administrators: Subject[] = [];
    let next: string | undefined = name;
    while (next !== undefined && line.length < MAX_GROUP_DEPTH && !line.includes(next)) {
      const found: Entity | undefined = await entity(GROUPS + next, GROUP_KIND);
      if (found === undefined) break;
      line.push(next);
      administrators.push(...strings(found.attributes[GROUP.administrators]));
      next = groupName(found.attributes[GROUP.parent]);
    }
    return line.length === 0 ? undefined : { administrators };
  });
  const tokens = kept(async (path): Promise<TokenRights | undefined> => {
    const found = await entity(path, TOKEN_KIND);
    if (found === undefined) return undefined;
    // The token of a user who was deleted is worth nothing, also when there is another user of that name.
    if (USER_NAME_PATTERN.test(found.owner)) {
      const user = await entity(USERS + found.owner, USER_KIND);
      if (user === undefined || user.createdAt !== found.internal?.ownerSince) return undefined;
    }
    return {
      owner: found.owner,
      expiresAt: timeIn(found.attributes[TOKEN.expiresAt]),
      targets: strings(found.attributes[TOKEN.targets]),
      operations: strings(found.attributes[TOKEN.operations]),
    };
  });
  async function showing(field: string, value: string): Promise<Shown> {
    const found = await entitiesWith(RULE_KIND, field, value, MAX_RULES_OF_SUBJECT + 1);
    const rules = found
      .map(ruleOf)
      .filter(({ operations }) => SHOWING.some((one) => includesOperation(operations, one)));
    return {
      isWhole: found.length <= MAX_RULES_OF_SUBJECT,
      rules: rules.map(({ target, from, until, allow }) => {
        const prefixes = field === keyField(RULE.allow) ? allow.filter(isPrefix) : [];
        return { target, from, until, ...(prefixes.length === 0 ? {} : { prefixes }) };
      }),
    };
  }
  const shown = kept((subject) => showing(attributeField(RULE.allow), subject));
  const shownToPrefixes = kept((key) => showing(keyField(RULE.allow), key));
  const administered = kept(async (subject) => {
    const field = attributeField(GROUP.administrators);
    return (await entitiesWith(GROUP_KIND, field, subject, MAX_GROUPS_OF_CALLER + 1)).map(({ id }) => id);
  });
  const below = kept(async (name) => {
    // The group above is written as a name or as a path.
    const found = await Promise.all(
      [name, GROUPS + name].map((parent) =>
        entitiesWith(GROUP_KIND, attributeField(GROUP.parent), parent, MAX_GROUPS_OF_CALLER + 1),
      ),
    );
    return found.flat().map(({ id }) => id);
  });

  const owners = kept(async (path): Promise<Principal | undefined> => {
    const owner = (await readEntity(store, path))?.entity.owner;
    return owner === undefined ? undefined : principalOf(owner);
  });
  const users = kept(async (name) => (await entity(USERS + name, USER_KIND)) !== undefined);

  return {
    ownerOfMember: (path) => owners.get(path),
    user: (name) => users.get(name),
    rules: (target) => {
      const level = levelAbove(target);
      return level === undefined ? rules.get(target) : entityRules.get(target, level);
    },
    memberships: (subject) => memberships.get(subject),
    group: (name) => groups.get(name),
    token: (path) => tokens.get(path),
    shown: (subject) => shown.get(subject),
    shownToPrefixes: () => shownToPrefixes.get(PREFIX_KEY),
    administered: (subject) => administered.get(subject),
    below: (group) => below.get(group),
    forget: () => {
      for (const answers of [
        ...[rules, rulesRightBelow, memberships, groups, tokens, owners, users],
        ...[shown, shownToPrefixes, administered, below],
      ])
        answers.forget();
    },
  };
}
