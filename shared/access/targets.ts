/**
 * What rules are about. A target is a text: `entity:/cmbs/message/x`, `category:<scheme>#<term>`, `topic:news.>`,
 * `member:/cmbs/member/bob`, `method:echo.echo`. The object of an operation has one or more chains of targets, each from
 * the most specific to the most general.
 */
import { badRequest } from '../errors';
import type { Operation, Resource } from '../principal';

/** Characters of a target. */
const MAX_TARGET_CHARS = 1000;
/** Levels of a chain: a rule on a collection deeper than this does not reach what is below. */
const MAX_LEVELS = 16;

/** Targets of one level: the rules for them count together. */
export type Level = readonly string[];
/** From the most specific level to the most general. */
export type Chain = readonly Level[];

const TOPIC = 'topic:';
const SERVICE = 'service:';
const METHOD = 'method:';
const CATEGORY = 'category:';

/**
 * The chains of a resource. Each chain may deny; where one allows and the others say nothing, the operation is allowed.
 * @param isMember whether the resource is a member, which has a target of its own beside its path
 */
export function chainsOf(resource: Resource, isMember: boolean): readonly Chain[] {
  const { path, kind, mixins = [], action } = resource;
  if (path.startsWith(TOPIC)) return [topicChain(path.slice(TOPIC.length))];
  if (path.startsWith(SERVICE)) return [methodChain(path.slice(SERVICE.length))];
  // The resource is a category itself: its id is not a path.
  if (!path.startsWith('/')) return [categoryChain(path)];
  const categories = [...(kind === undefined ? [] : [kind]), ...mixins, ...(action === undefined ? [] : [action])];
  return [pathChain(path, isMember), ...categories.map(categoryChain)];
}

function pathChain(path: string, isMember: boolean): Chain {
  const levels: Level[] = [[`entity:${path}`, ...(isMember ? [`member:${path}`] : [])]];
  let at = path.endsWith('/') ? path.length - 1 : path.length;
  while (at > 0 && levels.length < MAX_LEVELS - 1) {
    at = path.lastIndexOf('/', at - 1);
    levels.push([`entity:${path.slice(0, at + 1)}`, ...(isMember ? [`member:${path.slice(0, at + 1)}`] : [])]);
  }
  if (at > 0) levels.push(['entity:/']);
  return levels;
}

/** `http://houssem.org/cmbs#message`: that category, those of its scheme, then all categories. */
function categoryChain(id: string): Chain {
  const hash = id.lastIndexOf('#');
  return [[CATEGORY + id], ...(hash < 0 ? [] : [[CATEGORY + id.slice(0, hash + 1)]]), [CATEGORY]];
}

/** `news.eu.sport`: that topic, `news.eu.>`, `news.>`, `>`. A pattern is a level of its own: `news.*`, then `news.>`. */
function topicChain(topic: string): Chain {
  const words = topic.split('.');
  const levels: Level[] = [[TOPIC + topic]];
  for (let count = words.length - 1; count >= 0 && levels.length < MAX_LEVELS - 1; count--) {
    const level = `${TOPIC}${[...words.slice(0, count), '>'].join('.')}`;
    // A wildcard stands for every word, so a rule for some of them does not cover the pattern.
    if (level !== levels[0]?.[0] && !words.slice(0, count).includes('*')) levels.push([level]);
  }
  if (levels.at(-1)?.[0] !== `${TOPIC}>`) levels.push([`${TOPIC}>`]);
  return levels;
}

/** `echo.echo`: that method, its module `echo`, then all methods. */
function methodChain(name: string): Chain {
  const dot = name.indexOf('.');
  return [[METHOD + name], ...(dot < 0 ? [] : [[METHOD + name.slice(0, dot)]]), [METHOD]];
}

const FORMS: readonly { readonly form: RegExp; readonly example: string }[] = [
  { form: /^entity:\/\S*$/, example: 'entity:/cmbs/message/' },
  { form: /^member:\/\S*$/, example: 'member:/cmbs/member/bob' },
  { form: /^category:(?:\S+#\S*)?$/, example: 'category:http://houssem.org/cmbs#message' },
  { form: /^topic:(?:>|[^\s*>.]+(?:\.[^\s*>.]+)*(?:\.>)?)$/, example: 'topic:news.>' },
  { form: /^method:(?:[\w-]+(?:\.[\w-]+)?)?$/, example: 'method:echo.echo' },
];

/**
 * Checks the text of a target.
 * @throws CmbsError `bad_request`
 */
export function checkTarget(target: string): void {
  if (target.length <= MAX_TARGET_CHARS && FORMS.some(({ form }) => form.test(target))) return;
  const examples = FORMS.map(({ example }) => example).join(', ');
  throw badRequest(
    `${JSON.stringify(target.slice(0, 100))} is no target of a rule; targets look like ${examples}.`,
  );
}

/** The path of the entity that a target names; undefined for other targets, and for collections. */
export function entityOf(target: string): string | undefined {
  const [, path] = /^(?:entity|member):(\/.*[^/])$/.exec(target) ?? [];
  return path;
}

/** Whether one of the chains passes through one of the targets. */
export function isWithin(chains: readonly Chain[], targets: ReadonlySet<string>): boolean {
  return chains.some((chain) => chain.some((level) => level.some((target) => targets.has(target))));
}

/** Whether a list of operations has one: by name, or by `entity.*` for all of a group. An empty list has all. */
export function includesOperation(operations: readonly string[], operation: Operation): boolean {
  if (operations.length === 0 || operations.includes(operation)) return true;
  return operations.includes(`${operation.slice(0, operation.indexOf('.'))}.*`);
}
