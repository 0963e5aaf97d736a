/** The questions that the broker asks before it acts for a principal, with the resolved resource. */
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
  const isItself = principal.kind === 'member' && principal.name === from.path;
  if (!isItself) await authorize(principal, 'message.send_as', resourceOf(from));
  for (const topic of new Set(topics)) await authorize(principal, 'topic.publish', topicResource(topic));
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
