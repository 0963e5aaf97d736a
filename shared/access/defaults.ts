/** What callers may do where no rule decides. The table of docs/access.md is made from {@link DEFAULTS}. */
import { type Operation, type Principal, type Resource, TOPIC_BUS } from '../principal';
import { FILES } from '../occi';
import { isKnown } from './caller';
import { ACCESS, GROUP_KIND, LOCATIONS, RULE_KIND, TOKEN_KIND, USER_KIND } from './names';
import type { Verdict } from './rule';

/** Who may do an operation: only who owns the resource, everybody who is known, or administrators only. */
export type DefaultRight = 'owner' | 'known' | 'administrators';

export const DEFAULTS: Readonly<Record<Operation, DefaultRight>> = {
  'entity.read': 'owner',
  // A listing shows only what its caller may read.
  'entity.list': 'known',
  // What a caller creates belongs to the caller.
  'entity.create': 'known',
  'entity.update': 'owner',
  'entity.replace': 'owner',
  'entity.delete': 'owner',
  'entity.hand_over': 'owner',
  // Asked of the entity, and of the mixin, which has no owner.
  'entity.tag': 'owner',
  'entity.untag': 'owner',
  'action.invoke': 'owner',
  'category.read': 'known',
  'category.create': 'administrators',
  'category.update': 'administrators',
  'category.delete': 'administrators',
  'category.bind': 'administrators',
  'inbox.read': 'owner',
  'inbox.acknowledge': 'owner',
  'message.send': 'owner',
  'message.send_as': 'owner',
  'message.deliver': 'owner',
  // Asked for each member that gets a message, where the message is sent and where it arrives.
  'message.receive': 'owner',
  'message.forward': 'owner',
  'topic.publish': 'administrators',
  'topic.subscribe': 'administrators',
  'member.register': 'administrators',
  'service.call': 'known',
  'metrics.read': 'administrators',
};

/** Kinds whose entities give rights: owning one does not include every operation. */
const GIVING_RIGHTS: Readonly<Record<string, Readonly<Partial<Record<Operation, DefaultRight>>>>> = {
  [USER_KIND]: {
    'entity.create': 'administrators',
    'entity.delete': 'administrators',
    'entity.tag': 'administrators',
    'entity.untag': 'administrators',
  },
  // Administrators of a group change its members (`decisions.ts`); who made the group has no rights of its own.
  [GROUP_KIND]: {
    'entity.create': 'administrators',
    'entity.update': 'administrators',
    'entity.replace': 'administrators',
    'entity.delete': 'administrators',
    'entity.tag': 'administrators',
    'entity.untag': 'administrators',
  },
  // The provider checks that the caller owns the target of a rule.
  [RULE_KIND]: {},
  [TOKEN_KIND]: {},
};

/** @param isMember whether the resource is a member */
export function rightOf(operation: Operation, { path, kind }: Resource, isMember = false): DefaultRight {
  // A member receives at its addresses what its owner may have, so an owner must want the member.
  if (operation === 'entity.hand_over' && isMember) return 'administrators';
  // A mixin that an entity gets or loses: the entity's own owner was asked for.
  if ((operation === 'entity.tag' || operation === 'entity.untag') && !path.startsWith('/')) return 'known';
  // The message is not stored any more; it was decided when it was queued.
  if (operation === 'message.deliver' && kind === undefined) return 'known';
  // Files have no owners, so rules say who may make some.
  if (operation === 'entity.create' && path.startsWith(FILES)) return 'administrators';
  // A name below /cmbs/access/ is for the kind that has its place there.
  if (
    operation === 'entity.create' &&
    path.startsWith(ACCESS) &&
    !path.startsWith(LOCATIONS[kind ?? ''] ?? 'none')
  ) {
    return 'administrators';
  }
  return (kind === undefined ? undefined : GIVING_RIGHTS[kind]?.[operation]) ?? DEFAULTS[operation];
}

const isTopicBus = ({ kind, name }: Principal): boolean => kind === TOPIC_BUS.kind && name === TOPIC_BUS.name;

export function byDefault(
  {
    principal,
    operation,
    resource,
  }: { readonly principal: Principal; readonly operation: Operation; readonly resource: Resource },
  { isOwned, isMember }: { readonly isOwned: boolean; readonly isMember: boolean },
): Verdict {
  // The subscription of the member was decided, and the topic of the message.
  if (operation === 'message.receive' && isTopicBus(principal)) return 'allow';
  if (operation === 'service.call' && resource.callers === 'everybody') return 'allow';
  if (operation === 'service.call' && resource.callers === 'administrators') return 'deny';
  switch (rightOf(operation, resource, isMember)) {
    case 'owner':
      return isOwned ? 'allow' : 'deny';
    case 'known':
      return isKnown(principal) ? 'allow' : 'deny';
    case 'administrators':
      return 'deny';
  }
}
