/**
 * Principals, operations, and the decision whether a principal may do an operation. The domain asks {@link Authorize}
 * with the resolved resource before it reads or writes anything for a caller, whether the request came over HTTP, in a
 * frame, as a push or as a service call. Rules decide (docs/access.md); without identities everything is allowed.
 */
import { z } from 'zod';

/** Who acts. `system` is the deployment itself, for work without a caller, such as expiry. */
export const principalSchema = z.strictObject({
  kind: z.enum(['anonymous', 'user', 'token', 'member', 'service', 'administrator', 'system']),
  /** Unique within the kind: a user's name, the path of a member, the e-mail address of a service account. */
  name: z.string().min(1).max(1000),
  /** Path of the access token that a user's request came with; the token may have fewer rights than the user. */
  token: z.string().min(1).max(1000).exactOptional(),
});
export type Principal = Readonly<z.infer<typeof principalSchema>>;

/**
 * Names a caller among all callers, for what belongs to one caller, such as an `Idempotency-Key`. An access token is a
 * caller of its own, since it may have fewer rights than its user. Release 1.0 stored the bare name of its only caller.
 */
export function callerKey({ kind, name, token }: Principal): string {
  if (kind === 'anonymous') return name;
  return token === undefined ? `${kind}:${name}` : `${kind}:${name} ${token}`;
}

/** The id of the session of a caller with an access token: that of the token. Absent for other callers. */
export function sessionOf({ token }: Principal): { readonly session?: string } {
  return token === undefined ? {} : { session: token.slice(token.lastIndexOf('/') + 1) };
}

/** A caller without credentials. The name is what entities made by such a caller store as their owner. */
export const ANONYMOUS: Principal = Object.freeze({ kind: 'anonymous', name: 'anonymous' });
/** The deployment itself. */
export const SYSTEM: Principal = Object.freeze({ kind: 'system', name: 'system' });
/**
 * The topic bus, for the messages that it delivers or pushes: the bus admitted their publishers. The sender that a
 * message names is a claim.
 */
export const TOPIC_BUS: Principal = Object.freeze({ kind: 'service', name: 'topic-bus' });

/** Names that entities without an owner have as their owner. No user has such a name. */
export const NO_OWNERS: ReadonlySet<string> = new Set([
  ANONYMOUS.name,
  SYSTEM.name,
  TOPIC_BUS.name,
  // Received copies of messages, and members that peers described.
  'received',
  'discovery',
]);

/**
 * The principal that an entity names as its owner: a member by its path, or a user. Undefined for an entity without an
 * owner. Names in certificates may begin with a slash too, and have a `=` before the next one.
 */
export function principalOf(owner: string): Principal | undefined {
  if (NO_OWNERS.has(owner)) return undefined;
  return { kind: /^\/[^/=]+\//.test(owner) ? 'member' : 'user', name: owner };
}

/** Everything that a rule can allow or deny. The term of an action, which is a client's text, is in the resource. */
export const OPERATIONS = [
  'entity.read',
  'entity.list',
  'entity.create',
  'entity.update',
  'entity.replace',
  'entity.delete',
  'entity.hand_over',
  'entity.tag',
  'entity.untag',
  'action.invoke',
  'category.read',
  'category.create',
  'category.update',
  'category.delete',
  'category.bind',
  'inbox.read',
  'inbox.acknowledge',
  'message.send',
  'message.send_as',
  'message.deliver',
  'message.receive',
  'message.forward',
  'topic.publish',
  'topic.subscribe',
  'member.register',
  'service.call',
  'metrics.read',
] as const;
export type Operation = (typeof OPERATIONS)[number];

/**
 * The object of an operation, as it is stored. A resource with a path alone does not exist: the question is still asked,
 * so that a denied caller cannot tell.
 */
export interface Resource {
  /** Path of the entity or collection, id of the category, `topic:<name>`, or `service:<module>.<method>`. */
  readonly path: string;
  readonly kind?: string;
  readonly mixins?: readonly string[];
  readonly owner?: string;
  /** Id of the action, for `action.invoke`. */
  readonly action?: string;
  /** Who may call the method where no rule decides, for `service.call`; known callers when absent. */
  readonly callers?: 'everybody' | 'known' | 'administrators';
}

/**
 * Resolves when the principal may do the operation on the resource.
 * @throws CmbsError `forbidden`; `not_found` where the principal may not even know that the resource exists
 */
export type Authorize = (principal: Principal, operation: Operation, resource: Resource) => Promise<void>;

/** Allows everything; the default until there are access rules. */
export const allowAll: Authorize = () => Promise.resolve();
