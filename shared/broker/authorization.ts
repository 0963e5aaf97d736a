/** The questions that the broker asks before it acts for a principal, with the resolved resource. */
import { concurrently } from '../concurrently';
import { CmbsError, toCmbsError } from '../errors';
import type { Entity } from '../occi';
import { type Authorize, type Principal, principalOf, type Resource } from '../principal';
import { topicPatterns, wants } from './member';

export const resourceOf = ({
  path,
  kind,
  mixins,
  owner,
}: Pick<Entity, 'path' | 'kind' | 'mixins' | 'owner'>): Resource => ({
  path,
  kind,
  mixins,
  owner,
});

export const topicResource = (topic: string): Resource => ({ path: `topic:${topic}` });

/** Whether a question was answered with a permission. */
export async function isAllowed(asked: Promise<void>): Promise<boolean> {
  try {
    await asked;
    return true;
  } catch (thrown) {
    if (isRefusal(toCmbsError(thrown))) return false;
    throw thrown;
  }
}

const isRefusal = ({ code }: CmbsError): boolean =>
  code === 'forbidden' || code === 'not_found' || code === 'unauthenticated';

/** A principal that asks to act as a member. */
export interface ActingFor {
  /** Name of a principal who may own members. */
  readonly owner?: string;
  /** Whether the principal may know of the member; a refusal would tell the path of the member. */
  readonly mayKnow: (member: Entity) => Promise<boolean>;
}

export function actingFor(authorize: Authorize, principal: Principal): ActingFor {
  const mayKnow = async (member: Entity): Promise<boolean> => {
    if (isItself(principal, member)) return true;
    try {
      await authorize(principal, 'message.send_as', resourceOf(member));
      return true;
    } catch (thrown) {
      const { code } = toCmbsError(thrown);
      if (code === 'not_found') return false;
      if (code === 'forbidden') return true;
      throw thrown;
    }
  };
  return principalOf(principal.name) === undefined ? { mayKnow } : { mayKnow, owner: principal.name };
}

const isItself = ({ kind, name }: Principal, member: Pick<Entity, 'path'>): boolean =>
  kind === 'member' && name === member.path;

/**
 * Asks whether a principal may send a message: the message itself, as the member `from` unless that is the principal, and
 * to each topic.
 * @throws CmbsError `forbidden`, `not_found`
 */
export async function authorizeSending(
  authorize: Authorize,
  principal: Principal,
  {
    message,
    from,
    topics,
  }: { readonly message: Entity; readonly from: Entity; readonly topics: readonly string[] },
): Promise<void> {
  await authorize(principal, 'message.send', resourceOf(message));
  if (!isItself(principal, from)) await authorize(principal, 'message.send_as', resourceOf(from));
  for (const topic of new Set(topics)) await authorize(principal, 'topic.publish', topicResource(topic));
}

/** Members of one message that are decided at the same time. */
const DECISION_CONCURRENCY = 16;

/** The members that take messages from the principal, in their order. */
export async function membersThatReceive(
  authorize: Authorize,
  principal: Principal,
  members: readonly Entity[],
): Promise<readonly Entity[]> {
  const receiving = new Set<Entity>();
  await concurrently(members, DECISION_CONCURRENCY, async (member) => {
    if (await isAllowed(authorize(principal, 'message.receive', resourceOf(member)))) receiving.add(member);
  });
  return members.filter((member) => receiving.has(member));
}

/**
 * Asks whether a member accepts a message of a principal. The sender may know the address alone, so a refusal does not
 * name the member.
 * @throws CmbsError `forbidden`, `unauthenticated`
 */
export async function authorizeReceiving(
  authorize: Authorize,
  principal: Principal,
  member: Entity,
): Promise<void> {
  try {
    await authorize(principal, 'message.receive', resourceOf(member));
  } catch (thrown) {
    if (toCmbsError(thrown).code !== 'not_found') throw thrown;
    throw new CmbsError('forbidden', 'This member does not take your messages; ask its owner for a rule.', {
      cause: thrown,
    });
  }
}

/**
 * The members whose owners may subscribe them to one of the topics that they want. A pattern was decided when the member
 * got the pattern; since then rules may have changed, and a rule for one topic is more specific than one for a pattern.
 */
export async function membersThatMaySubscribe(
  authorize: Authorize,
  members: readonly Entity[],
  topics: readonly string[],
): Promise<readonly Entity[]> {
  const subscribed = new Set<Entity>();
  await concurrently(members, DECISION_CONCURRENCY, async (member) => {
    const owner = principalOf(member.owner);
    for (const topic of topics) {
      if (subscribed.has(member) || !wants(member, [topic])) continue;
      const isPermitted =
        owner === undefined || (await isAllowed(authorize(owner, 'topic.subscribe', topicResource(topic))));
      if (isPermitted) subscribed.add(member);
    }
  });
  return members.filter((member) => subscribed.has(member));
}

/**
 * Asks whether a principal may subscribe a member to its topics, without the topics that the member had `before`.
 * @throws CmbsError `forbidden`, `not_found`
 */
export async function authorizeSubscribing(
  authorize: Authorize,
  principal: Principal,
  member: Pick<Entity, 'attributes'>,
  before?: Pick<Entity, 'attributes'>,
): Promise<void> {
  const known = new Set(before === undefined ? [] : topicPatterns(before));
  for (const topic of new Set(topicPatterns(member))) {
    if (!known.has(topic)) await authorize(principal, 'topic.subscribe', topicResource(topic));
  }
}
