/** What the broker asks before it acts for a principal, with the resolved resource. */
import type { Entity } from '../occi';
import type { Authorize, Principal, Resource } from '../principal';

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
 * Whether a principal may send a message: the message itself, as the member {@link from} unless that is the principal,
 * and to each topic.
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
