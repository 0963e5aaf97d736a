/** What callers may do where no rule decides. The table of docs/access.md is made from {@link DEFAULTS}. */
import type { Operation, Principal, Resource } from '../principal';
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
  'entity.create': 'owner',
  'entity.update': 'owner',
  'entity.replace': 'owner',
  'entity.delete': 'owner',
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
  // Whether a message may be delivered is decided where it is sent; a frame from nobody needs a rule.
  'message.receive': 'known',
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

export function rightOf(operation: Operation, { path, kind }: Resource): DefaultRight {
  // A mixin that an entity gets or loses: the entity's own owner was asked for.
  if ((operation === 'entity.tag' || operation === 'entity.untag') && !path.startsWith('/')) return 'known';
  // An address that no member of this deployment has: its own deployment decides.
  if (
    (operation === 'message.deliver' || operation === 'message.forward') &&
    kind === undefined &&
    !path.startsWith('topic:')
  ) {
    return 'known';
  }
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

export function byDefault(
  {
    principal,
    operation,
    resource,
  }: { readonly principal: Principal; readonly operation: Operation; readonly resource: Resource },
  owns: boolean,
): Verdict {
  switch (rightOf(operation, resource)) {
    case 'owner':
      return owns ? 'allow' : 'deny';
    case 'known':
      return isKnown(principal) ? 'allow' : 'deny';
    case 'administrators':
      return 'deny';
  }
}
