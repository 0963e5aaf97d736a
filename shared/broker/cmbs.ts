/** Identifiers, paths and attribute names of the CMBS categories, as in the original program. */
import type { Json } from '../json';
import type { AttributeSpec, CategoryId, Path } from '../occi';
import type { Layer } from './layer-definition';

export const CMBS_SCHEME = 'http://houssem.org/cmbs#';
export const MEMBER_ACTION_SCHEME = 'http://houssem.org/cmbs/member/action#';
export const MESSAGE_ACTION_SCHEME = 'http://houssem.org/cmbs/message/action#';

export const MEMBER_KIND: CategoryId = `${CMBS_SCHEME}member`;
export const MESSAGE_KIND: CategoryId = `${CMBS_SCHEME}message`;
export const NEIGHBOR_KIND: CategoryId = `${CMBS_SCHEME}neighbor`;
export const DEAD_LETTER_MIXIN: CategoryId = `${CMBS_SCHEME}dead_letter`;

export const MEMBERS = '/cmbs/member/';
export const MESSAGES = '/cmbs/message/';
export const NEIGHBORS = '/cmbs/neighbor/';

/** The id of the member or message at a path. */
export const idAt = (path: Path): string => path.slice(path.lastIndexOf('/') + 1);

export const layerMixin = (layer: Layer): CategoryId => CMBS_SCHEME + layer;

/** Attribute names; `cmbs.member.*` and `cmbs.message.*`. */
export const MEMBER = {
  state: 'cmbs.member.state',
  local: 'cmbs.member.local',
  neighbors: 'cmbs.member.neighbors_socket',
  topics: 'cmbs.member.topics',
  layers: 'cmbs.member.layers',
  start: 'cmbs.member.start',
  socket: (layer: Layer): string => `cmbs.member.${layer}_socket`,
} as const;

export const MESSAGE = {
  layer: 'cmbs.message.cmbs_layer',
  executable: 'cmbs.message.executable',
  sendable: 'cmbs.message.sendable',
  storable: 'cmbs.message.storable',
  pathHistory: 'cmbs.message.path_history',
  content: 'cmbs.message.message_content',
  result: 'cmbs.message.result',
  delivery: 'cmbs.message.delivery',
  expiresAt: 'cmbs.message.expires_at',
  orderingKey: 'cmbs.message.ordering_key',
  headers: 'cmbs.message.headers',
  receiver: 'cmbs.message.l1_socket_receiver_member',
  providers: 'cmbs.message.providers',
  topics: 'cmbs.message.topics',
} as const;

/** Lenient: data of the original program break its own types and patterns (docs/design.md). */
export const textAttribute = (more: Partial<AttributeSpec> = {}): AttributeSpec => ({
  type: 'string',
  required: false,
  mutable: true,
  lenient: true,
  ...more,
});
export const ARRAY_OR_STRING = { form: 'schema', schema: { type: ['array', 'string'] } } as const;
export const listAttribute = (description: string): AttributeSpec =>
  textAttribute({
    type: 'array',
    default: [] as readonly Json[],
    pattern: ARRAY_OR_STRING,
    description,
  });

/** Attribute of the actions that send or execute a message: the local member that acts. */
export const FROM = 'from';
