/**
 * Decides who may do what (docs/access.md). The object of an operation lies in chains of targets, from the most specific
 * to the most general. In each chain the first level whose rules name the caller decides, and on one level a denial wins.
 * A denial in any chain denies. Otherwise the permission of any chain allows; then the owner may; then the defaults count.
 * A request with an access token needs the permission of the token as well.
 */
import type { Clock } from '../clock';
import { CmbsError } from '../errors';
import type { Authorize, Operation, Principal, Resource } from '../principal';
import { type Caller, isKnown, owns, type Subject } from './caller';
import { byDefault, rightOf } from './defaults';
import { type Directory, KEEP_MS, type TokenRights } from './directory';
import { groupsOf } from './groups';
import { USER_NAME_PATTERN } from './identities';
import { type Kept, KeptMap } from './kept';
import { ACCESS, ADMINISTRATORS_GROUP, GROUP_KIND, TOKEN_KIND, USER_KIND } from './names';
import { type Question, type Rule, type Verdict, verdictOfLevel } from './rule';
import { type Chain, chainsOf, includesOperation, isWithin } from './targets';

/** Characters of the questions whose decisions are in memory: some 20,000 decisions. */
const MAX_DECISION_CHARS = 8 * 1024 * 1024;

export interface DecisionsOptions {
  readonly directory: Directory;
  readonly clock: Clock;
  /** Names of users who are administrators by configuration. */
  readonly administrators: readonly string[];
  /** The kind of members, which have targets of their own. */
  readonly memberKind: string;
  /** The refusal for a caller who showed no credentials. */
  readonly unauthenticated: () => CmbsError;
}

interface Asked {
  readonly principal: Principal;
  readonly operation: Operation;
  readonly resource: Resource;
}

export class Decisions {
  readonly #options: DecisionsOptions;
  readonly #decided: KeptMap<Verdict>;

  constructor(options: DecisionsOptions) {
    this.#options = options;
    this.#decided = new KeptMap({ clock: options.clock, maxChars: MAX_DECISION_CHARS, charsOf: () => 0 });
  }

  /** The decision, if it was taken a moment ago. */
  known(principal: Principal, operation: Operation, resource: Resource): Verdict | undefined {
    if (principal.kind === 'system') return 'allow';
    return this.#decided.get(keyOf(principal, operation, resource))?.value;
  }

  /** The decision, from memory where it was taken a moment ago. */
  async decide(principal: Principal, operation: Operation, resource: Resource): Promise<Verdict> {
    if (principal.kind === 'system') return 'allow';
    const key = keyOf(principal, operation, resource);
    const known = this.#decided.get(key);
    if (known !== undefined) return known.value;
    const { generation } = this.#decided;
    const decision = await this.#decide({ principal, operation, resource });
    this.#decided.add(key, decision, generation);
    return decision.value;
  }

  /** @throws CmbsError `unauthenticated`, `forbidden`, or `not_found` where the caller may not know of the resource */
  readonly authorize: Authorize = async (principal, operation, resource) => {
    if ((await this.decide(principal, operation, resource)) === 'allow') return;
    if (!isKnown(principal)) throw this.#options.unauthenticated();
    const isEntity = resource.path.startsWith('/') && !resource.path.endsWith('/');
    if (
      isEntity &&
      !ON_NO_ENTITY.has(operation) &&
      (operation === 'entity.read' || (await this.decide(principal, 'entity.read', resource)) === 'deny')
    ) {
      throw new CmbsError('not_found', `There is nothing at ${resource.path}.`);
    }
    // The caller knows of the entity or named the object, and a request may be about many of them. A method is named as
    // in the target of a rule.
    const object = resource.path.replace(/^service:/, 'method:');
    throw new CmbsError(
      'forbidden',
      `You may not do this (${operation} of ${object}); ask the owner or an administrator for a rule.`,
    );
  };

  /** Forgets what was decided and read, after a change of a rule, a group, a user or a token in this process. */
  forget(): void {
    this.#options.directory.forget();
    this.#decided.forget();
  }

  async isAdministrator(principal: Principal): Promise<boolean> {
    return await this.#isAdministrator(principal, new Reading(this.#options.clock));
  }

  async #decide(asked: Asked): Promise<Kept<Verdict>> {
    const reading = new Reading(this.#options.clock);
    const value = await this.#verdict(asked, reading);
    return { value, until: reading.until };
  }

  async #verdict(asked: Asked, reading: Reading): Promise<Verdict> {
    const { principal, operation, resource } = asked;
    const isMember = resource.kind === this.#options.memberKind;
    const chains = chainsOf(resource, isMember);
    if (principal.token !== undefined && !(await this.#tokenAllows(principal.token, asked, chains, reading))) {
      return 'deny';
    }
    const owner = await this.#ownerOf(principal, reading);
    if (await this.#isGone(owner ?? principal, reading)) return 'deny';
    // A member never acts as an administrator: others may act as the member.
    if (await this.#isAdministrator(principal, reading)) return 'allow';
    const rules = await this.#rulesOf(chains, reading);
    const caller = await this.#callerOf(principal, owner, rules, reading);
    const now = this.#options.clock.now();
    for (const time of timesOf(rules)) if (time > now) reading.noteTime(time);
    const byRules = (what: Operation): Verdict | undefined => {
      const isReserved = rightOf(what, resource, isMember) === 'administrators';
      return verdictOf(chains, rules, { caller, operation: what, owner: resource.owner, isReserved, now });
    };
    const decided = byRules(operation);
    if (decided !== undefined) return decided;
    if (await this.#administersGroup(asked, reading)) return 'allow';
    // A caller who may send to a member sees its description.
    const sees = operation === 'entity.read' && isMember && byRules('message.receive') === 'allow';
    return sees ? 'allow' : byDefault(asked, { isOwned: owns(caller, resource.owner), isMember });
  }

  /** The owner of a member that acts: frames come from members, and rules mostly name users. */
  async #ownerOf({ kind, name }: Principal, reading: Reading): Promise<Principal | undefined> {
    if (kind !== 'member') return undefined;
    return reading.of(await this.#options.directory.ownerOfMember(name));
  }

  async #tokenAllows(
    path: string,
    { principal, operation, resource }: Asked,
    chains: readonly Chain[],
    reading: Reading,
  ): Promise<boolean> {
    const token: TokenRights | undefined = reading.of(await this.#options.directory.token(path));
    if (token === undefined) return false;
    // A member acts for the user of a token, who need not own the member.
    if (principal.kind === 'user' && token.owner !== principal.name) return false;
    const { expiresAt, operations, targets } = token;
    if (expiresAt !== undefined) {
      if (expiresAt <= this.#options.clock.now()) return false;
      reading.noteTime(expiresAt);
    }
    if (resource.path.startsWith(ACCESS) && !READS.has(operation)) {
      // By a password, a later expiry or a rule, a token would get all rights of its owner.
      if (resource.kind === USER_KIND || resource.kind === TOKEN_KIND) return false;
      if (operations.length > 0 && targets.length === 0) return false;
    }
    return (
      includesOperation(operations, operation) && (targets.length === 0 || isWithin(chains, new Set(targets)))
    );
  }

  /** Whether the principal is a deleted user, whose tokens, open streams and queued messages remain. */
  async #isGone({ kind, name }: Principal, reading: Reading): Promise<boolean> {
    // Users whom an issuer or a certificate names have other names, and are not in the store.
    if (kind !== 'user' || !USER_NAME_PATTERN.test(name)) return false;
    return !reading.of(await this.#options.directory.user(name));
  }

  async #isAdministrator(principal: Principal, reading: Reading): Promise<boolean> {
    if (principal.kind !== 'user') return false;
    if (this.#options.administrators.includes(principal.name)) return true;
    const groups = reading.of(await this.#options.directory.memberships(`user:${principal.name}`));
    return groups.includes(ADMINISTRATORS_GROUP);
  }

  /** Administrators of a group, and of the groups above it, see it and change its members. */
  async #administersGroup({ principal, operation, resource }: Asked, reading: Reading): Promise<boolean> {
    if (resource.kind !== GROUP_KIND || !(operation === 'entity.read' || operation === 'entity.update'))
      return false;
    const name = resource.path.slice(resource.path.lastIndexOf('/') + 1);
    const group = reading.of(await this.#options.directory.group(name));
    return group?.administrators.includes(`${principal.kind}:${principal.name}`) === true;
  }

  /** The rules of every level, by target. */
  async #rulesOf(chains: readonly Chain[], reading: Reading): Promise<ReadonlyMap<string, readonly Rule[]>> {
    const targets = [...new Set(chains.flat(2))];
    const found = await Promise.all(targets.map((target) => this.#options.directory.rules(target)));
    return new Map(targets.map((target, at) => [target, reading.of(found[at] as Kept<readonly Rule[]>)]));
  }

  async #callerOf(
    principal: Principal,
    owner: Principal | undefined,
    rules: ReadonlyMap<string, readonly Rule[]>,
    reading: Reading,
  ): Promise<Caller> {
    const who = { principal, ...(owner === undefined ? {} : { owner }) };
    const namesGroups = [...rules.values()].flat().some(({ allow, deny }) => [...allow, ...deny].some(isGroup));
    if (!namesGroups) return { ...who, isIn: () => false, mayBeIn: () => false };
    const { directory } = this.#options;
    const groups = [
      reading.of(await groupsOf(principal, directory)),
      ...(owner === undefined ? [] : [reading.of(await groupsOf(owner, directory))]),
    ];
    const isIn = (group: string): boolean => groups.some(({ names }) => names.has(group));
    const isWhole = groups.every((some) => some.isWhole);
    return { ...who, isIn, mayBeIn: (group) => !isWhole || isIn(group) };
  }
}

const isGroup = (subject: Subject): boolean => subject.startsWith('group:');

const READS: ReadonlySet<Operation> = new Set(['entity.read', 'entity.list']);

/** Operations that are about no stored entity, so that refusing them tells nothing of one. */
const ON_NO_ENTITY: ReadonlySet<Operation> = new Set(['entity.create', 'metrics.read']);

/** Until when all facts of a decision hold. */
class Reading {
  readonly #clock: Clock;
  /** Milliseconds of the monotonic clock; a decision without facts is kept as long as one with facts. */
  until: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.until = clock.elapsed() + KEEP_MS;
  }

  of<T>({ value, until }: Kept<T>): T {
    this.until = Math.min(this.until, until);
    return value;
  }

  /** A fact changes at a time, in milliseconds since the epoch. */
  noteTime(time: number): void {
    this.until = Math.min(this.until, this.#clock.elapsed() + time - this.#clock.now());
  }
}

function keyOf({ kind, name, token = '' }: Principal, operation: Operation, resource: Resource): string {
  const { path, kind: itsKind = '', owner = '', action = '', mixins = [] } = resource;
  // Names and paths may have any character, so a separator could not keep two questions apart.
  return JSON.stringify([kind, name, token, operation, path, itsKind, owner, action, ...mixins]);
}

function timesOf(rules: ReadonlyMap<string, readonly Rule[]>): readonly number[] {
  return [...rules.values()]
    .flat()
    .flatMap(({ from, until }) => [from, until].filter((time) => time !== undefined));
}

/** The verdict of the rules: a denial in any chain, else a permission in any chain. */
function verdictOf(
  chains: readonly Chain[],
  rules: ReadonlyMap<string, readonly Rule[]>,
  question: Question,
): Verdict | undefined {
  const verdicts = chains.map((chain) => verdictOfChain(chain, rules, question));
  return verdicts.includes('deny') ? 'deny' : verdicts.find((verdict) => verdict === 'allow');
}

function verdictOfChain(
  chain: Chain,
  rules: ReadonlyMap<string, readonly Rule[]>,
  question: Question,
): Verdict | undefined {
  for (const level of chain) {
    const verdict = verdictOfLevel(
      level.flatMap((target) => rules.get(target) ?? []),
      question,
    );
    if (verdict !== undefined) return verdict;
  }
  return undefined;
}
