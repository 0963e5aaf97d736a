/** Rules: who may do what to a target, and when. */
import type { Json } from '../json';
import { OPERATIONS, type Operation } from '../principal';
import type { Entity } from '../occi';
import { CmbsError } from '../errors';
import { parseRfc3339 } from '../rfc3339';
import { type Caller, isSubject, mayName, names, type Subject } from './caller';
import { RULE } from './names';
import { checkTarget, includesOperation } from './targets';

/** The field of {@link Entity.internal} with {@link Rule.ofOwner}. */
export const OF_OWNER = 'ofOwner';

/** Subjects of one rule, and operations of one rule. */
export const MAX_LISTED = 1000;
/** Characters of one list of a rule or a token: decisions read them, and a group has room for more callers. */
export const MAX_LIST_CHARS = 4096;
/** Characters of a list of members. */
export const MAX_MEMBERS_CHARS = 64 * 1024;

export interface Rule {
  readonly target: string;
  /** Names of operations, or `entity.*`; none: all operations. */
  readonly operations: readonly string[];
  /** Which list wins for a caller in both: with `allow,deny` the denial, with `deny,allow` the permission. */
  readonly order: 'allow,deny' | 'deny,allow';
  readonly allow: readonly Subject[];
  readonly deny: readonly Subject[];
  /**
   * Name of the owner who wrote the rule; it counts only as long as its target belongs to the same owner. Absent for
   * rules of administrators.
   */
  readonly ofOwner?: string;
  /** Milliseconds since the epoch; the rule counts from then on. */
  readonly from: number | undefined;
  /** Milliseconds since the epoch; the rule counts before then. */
  readonly until: number | undefined;
}

export type Verdict = 'allow' | 'deny';

const GROUPS_OF_OPERATIONS: ReadonlySet<string> = new Set(
  OPERATIONS.map((name) => `${name.split('.', 1)[0] ?? ''}.*`),
);
const KNOWN_OPERATIONS: ReadonlySet<string> = new Set([...OPERATIONS, ...GROUPS_OF_OPERATIONS]);

const refuse = (message: string): CmbsError => new CmbsError('bad_attribute', message);

const textsOf = (value: Json | undefined): readonly string[] =>
  Array.isArray(value) ? (value as readonly string[]) : [];

/** @throws CmbsError `bad_attribute` for a list that names no operation */
export function checkOperations(name: string, value: Json | undefined): void {
  refuseEmpty(name, value);
  for (const operation of listOf(name, value)) {
    if (KNOWN_OPERATIONS.has(operation)) continue;
    throw refuse(
      `${name} has ${JSON.stringify(operation.slice(0, 100))}, which is no operation; docs/access.md lists them.`,
    );
  }
}

/** A program that finds nothing to allow would allow everything. */
function refuseEmpty(name: string, value: Json | undefined): void {
  if (!Array.isArray(value) || value.length > 0) return;
  throw refuse(`${name} is an empty list; leave it out if you mean all.`);
}

/** @throws CmbsError `bad_attribute` */
export function checkTargets(name: string, value: Json | undefined): void {
  refuseEmpty(name, value);
  for (const target of listOf(name, value)) checkTarget(target);
}

/** @throws CmbsError `bad_attribute` */
export function checkSubjects(name: string, value: Json | undefined, maxChars = MAX_LIST_CHARS): void {
  for (const subject of listOf(name, value, maxChars)) {
    if (isSubject(subject)) continue;
    throw refuse(
      `${name} has ${JSON.stringify(subject.slice(0, 100))}, which names no caller; write user:alice, group:ops, prefix:…, member:…, owner, known or everybody.`,
    );
  }
}

function listOf(name: string, value: Json | undefined, maxChars = MAX_LIST_CHARS): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.some((item) => typeof item !== 'string') || value.length > MAX_LISTED) {
    throw refuse(`${name} takes a list of ${MAX_LISTED} strings at most.`);
  }
  const texts = value as readonly string[];
  if (texts.reduce((chars, text) => chars + text.length, 0) > maxChars) {
    throw refuse(`${name} takes ${maxChars} characters at most; name a group, or a prefix.`);
  }
  return texts;
}

/** @throws CmbsError `bad_attribute` */
export function checkTime(name: string, value: Json | undefined): void {
  if (value === undefined || value === '' || (typeof value === 'string' && parseRfc3339(value) !== undefined))
    return;
  throw refuse(`${name} takes an RFC 3339 time, for example 2030-01-31T12:00:00Z.`);
}

export const timeIn = (value: Json | undefined): number | undefined =>
  typeof value === 'string' ? parseRfc3339(value) : undefined;

/** Checks the attributes of a rule. @throws CmbsError `bad_attribute`, `bad_request` */
export function checkRule({ attributes }: Pick<Entity, 'attributes'>): void {
  const target = attributes[RULE.target];
  if (typeof target !== 'string') throw refuse(`A rule needs ${RULE.target}.`);
  checkTarget(target);
  checkOperations(RULE.operations, attributes[RULE.operations]);
  checkSubjects(RULE.allow, attributes[RULE.allow]);
  checkSubjects(RULE.deny, attributes[RULE.deny]);
  checkTime(RULE.from, attributes[RULE.from]);
  checkTime(RULE.until, attributes[RULE.until]);
}

/** The target of a rule that {@link checkRule} accepted. */
export function targetOf({ attributes }: Pick<Entity, 'attributes'>): string {
  const target = attributes[RULE.target];
  return typeof target === 'string' ? target : '';
}

/** A rule that denies everything to everybody. */
export const denialOf = (target: string): Rule => ({
  target,
  operations: [],
  order: 'allow,deny',
  allow: [],
  deny: ['everybody'],
  from: undefined,
  until: undefined,
});

/** The rule of an entity that {@link checkRule} accepted. */
export function ruleOf({ attributes, internal }: Pick<Entity, 'attributes' | 'internal'>): Rule {
  const ofOwner = internal?.[OF_OWNER];
  return {
    ...(typeof ofOwner === 'string' ? { ofOwner } : {}),
    target: targetOf({ attributes }),
    operations: textsOf(attributes[RULE.operations]),
    order: attributes[RULE.order] === 'deny,allow' ? 'deny,allow' : 'allow,deny',
    allow: textsOf(attributes[RULE.allow]),
    deny: textsOf(attributes[RULE.deny]),
    from: timeIn(attributes[RULE.from]),
    until: timeIn(attributes[RULE.until]),
  };
}

/** What is asked of a rule. */
export interface Question {
  readonly caller: Caller;
  readonly operation: Operation;
  /** Name of the principal that the resource belongs to. */
  readonly owner: string | undefined;
  /** Only administrators may do the operation by default, so that rules of owners do not allow it. */
  readonly isReserved: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** The verdict of a rule; undefined when it says nothing of the operation, the time or the caller. */
export function verdictOf(
  rule: Rule,
  { caller, operation, owner, isReserved, now }: Question,
): Verdict | undefined {
  if (!includesOperation(rule.operations, operation)) return undefined;
  if (rule.ofOwner !== undefined && rule.ofOwner !== owner) return undefined;
  if ((rule.from !== undefined && now < rule.from) || (rule.until !== undefined && now >= rule.until))
    return undefined;
  const mayAllow = rule.ofOwner === undefined || !isReserved;
  const isAllowed = mayAllow && rule.allow.some((subject) => names(subject, caller, owner));
  const isDenied = rule.deny.some((subject) => mayName(subject, caller, owner));
  if (!isAllowed && !isDenied) return undefined;
  if (rule.order === 'allow,deny') return isDenied ? 'deny' : 'allow';
  return isAllowed ? 'allow' : 'deny';
}

/** The verdict of the rules of one level: a denial wins. */
export function verdictOfLevel(rules: readonly Rule[], question: Question): Verdict | undefined {
  let verdict: Verdict | undefined;
  for (const rule of rules) {
    const own = verdictOf(rule, question);
    if (own === 'deny') return 'deny';
    verdict ??= own;
  }
  return verdict;
}
