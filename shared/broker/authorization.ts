/** The questions that the broker asks before it acts for a principal, with the resolved resource. */
import { concurrently } from '../concurrently';
import { CmbsError, toCmbsError } from '../errors';
import type { Entity } from '../occi';
import type { Authorize, Principal, Resource } from '../principal';
import { topicPatterns } from './member';

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

/** Whether a principal may know of a member, as which it asks to act. The refusal would tell the path of the member. */
export function mayKnowActor(authorize: Authorize, principal: Principal): (member: Entity) => Promise<boolean> {
  return async (member) => {
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
