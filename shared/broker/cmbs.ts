/** The built-in CMBS kinds, mixins and actions, with the original's identifiers and locations (occi.md §1.4). */
import type { Json } from '../json';
import {
  type Action,
  type Aliases,
  type AttributeSpec,
  type AttributeSpecs,
  type Category,
  categoryId,
  type CategoryId,
  type Kind,
  LINK_KIND,
  type Mixin,
  RESOURCE_KIND,
} from '../occi';
import { LAYERS, type Layer } from './layers';

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

/** The original's port of each layer. */
export const ORIGINAL_PORTS: Readonly<Record<Layer, number>> = {
  l1: 5010,
  l2: 5020,
  l31: 5031,
  l32: 5032,
  l4: 5040,
};

// The original's own data break its own types and patterns, so its categories are lenient (DESIGN decision 3).
const text = (more: Partial<AttributeSpec> = {}): AttributeSpec => ({
  type: 'string',
  required: false,
  mutable: true,
  lenient: true,
  ...more,
});
const ARRAY_OR_STRING = { form: 'schema', schema: { type: ['array', 'string'] } } as const;
const list = (description: string): AttributeSpec =>
  text({
    type: 'array',
    default: [] as readonly Json[],
    pattern: ARRAY_OR_STRING,
    description,
  });
const flag = (description: string): AttributeSpec =>
  text({ default: 'true', pattern: { form: 'regex', source: '(?:true|false)$' }, description });
const readOnly = (description: string): AttributeSpec => text({ type: 'object', mutable: false, description });
/** Strict: these attributes are ours, so no old data can break them. */
const added = (type: AttributeSpec['type'], description: string): AttributeSpec => ({
  type,
  required: false,
  mutable: true,
  lenient: false,
  description,
});

const memberAttributes: AttributeSpecs = {
  [MEMBER.state]: text({
    default: 'inactive',
    pattern: { form: 'regex', source: '(?:active|inactive|suspended|failed)$' },
    description: 'Only a suspended member has its reliable messages withheld',
  }),
  [MEMBER.local]: text({
    required: true,
    default: 'true',
    pattern: { form: 'regex', source: '(?:true|false)$' },
    description: 'true: sockets are opened by this deployment; false: a description learnt from elsewhere',
  }),
  ...Object.fromEntries(
    LAYERS.map((layer) => [MEMBER.socket(layer), text({ description: `What others connect to for ${layer}` })]),
  ),
  [MEMBER.neighbors]: list('L1 sockets to start discovery from'),
  [MEMBER.topics]: list('Topic names or patterns the member wants (L3.2, L4)'),
  [MEMBER.start]: text({
    type: 'array',
    pattern: ARRAY_OR_STRING,
    description: 'Layers to start with this request; not kept',
  }),
  [MEMBER.layers]: readOnly('Per layer: started, stopped or failed with the reason, as the companion observes it'),
};

const messageAttributes: AttributeSpecs = {
  [MESSAGE.layer]: text({
    pattern: { form: 'regex', source: '(?:l1|l2|l31|l32|l4)$' },
    description: 'The layer whose send action applies',
  }),
  [MESSAGE.executable]: flag('May a receiver execute it'),
  [MESSAGE.sendable]: flag('May it be sent'),
  [MESSAGE.storable]: flag('Does a receiver keep a copy'),
  [MESSAGE.pathHistory]: list('URIs of the members it passed'),
  [MESSAGE.content]: text({ type: 'any', rawJson: true, description: 'Any JSON value, kept as it came' }),
  [MESSAGE.result]: text({ type: 'any', rawJson: true, apart: true, description: 'What came back' }),
  [MESSAGE.delivery]: {
    ...readOnly('State, counts, attempts, times and one entry per receiver'),
    indexedMembers: ['state', 'send_id', 'from'],
  },
  [MESSAGE.expiresAt]: added('string', 'RFC 3339 time after which it is not delivered any more'),
  [MESSAGE.orderingKey]: added('string', 'Messages with one key are delivered in order (L3.2, L4)'),
  [MESSAGE.headers]: added('object', "The caller's own keys and values, carried along"),
};

const action = (scheme: string, term: string, title: string, attributes: AttributeSpecs = {}): Action => ({
  class: 'action',
  term,
  scheme,
  title,
  attributes,
  origin: 'builtin',
});

/** The attribute with which a send or an execution names the local member that acts. */
export const FROM = 'from';
const fromAttribute: AttributeSpecs = {
  [FROM]: added('string', 'Id or URI of the local member that acts; needed when there are several'),
};

const startActions = LAYERS.map((layer) =>
  action(MEMBER_ACTION_SCHEME, `start_${layer}`, `Open the ${layer} socket`),
);
const stopActions = LAYERS.map((layer) =>
  action(MEMBER_ACTION_SCHEME, `stop_${layer}`, `Close the ${layer} socket`),
);
const sendActions = LAYERS.map((layer) =>
  action(MESSAGE_ACTION_SCHEME, `send_${layer}`, `Send on ${layer}`, fromAttribute),
);
const checkNeighbors = action(
  MEMBER_ACTION_SCHEME,
  'check_neighbors',
  'Discover the members behind the neighbours',
);
const execute = action(MESSAGE_ACTION_SCHEME, 'execute', 'Execute the message here', fromAttribute);
const resend = action(MESSAGE_ACTION_SCHEME, 'resend', 'Send a dead letter again', fromAttribute);
const purge = action(MESSAGE_ACTION_SCHEME, 'purge', 'Delete a dead letter');

const member: Kind = {
  class: 'kind',
  dialect: 'nested',
  term: 'member',
  scheme: CMBS_SCHEME,
  title: 'CMBS member',
  parent: RESOURCE_KIND,
  attributes: memberAttributes,
  actions: [checkNeighbors, ...startActions, ...stopActions].map(categoryId),
  location: MEMBERS,
  origin: 'builtin',
};

const message: Kind = {
  class: 'kind',
  dialect: 'nested',
  term: 'message',
  scheme: CMBS_SCHEME,
  title: 'CMBS message',
  parent: RESOURCE_KIND,
  attributes: messageAttributes,
  actions: [categoryId(execute)],
  location: MESSAGES,
  origin: 'builtin',
};

const neighbor: Kind = {
  class: 'kind',
  dialect: 'nested',
  term: 'neighbor',
  scheme: CMBS_SCHEME,
  title: 'A member reached by discovery',
  parent: LINK_KIND,
  attributes: {},
  actions: [],
  location: NEIGHBORS,
  origin: 'builtin',
};

const addressing: Readonly<Record<Layer, AttributeSpecs>> = {
  l1: { [MESSAGE.receiver]: text({ description: 'The L1 socket that receives it' }) },
  l2: {},
  l31: { [MESSAGE.providers]: list('Members that receive it: id, URI or title') },
  l32: { [MESSAGE.topics]: list('Topics it is published on') },
  l4: {
    [MESSAGE.providers]: list('Members that may receive it; empty: all with the topic'),
    [MESSAGE.topics]: list('Topics it is published on; empty: all listed members'),
  },
};

const layerMixins = LAYERS.map((layer, at): Mixin => ({
  class: 'mixin',
  dialect: 'nested',
  term: layer,
  scheme: CMBS_SCHEME,
  title: `${layer.toUpperCase()} CMBS message`,
  attributes: addressing[layer],
  actions: [categoryId(sendActions[at] as Action)],
  depends: [],
  applies: [MESSAGE_KIND],
  location: `${MESSAGES}${layer}/`,
  origin: 'builtin',
}));

const deadLetter: Mixin = {
  class: 'mixin',
  dialect: 'nested',
  term: 'dead_letter',
  scheme: CMBS_SCHEME,
  title: 'A message that was given up',
  attributes: {},
  actions: [categoryId(resend), categoryId(purge)],
  depends: [],
  applies: [MESSAGE_KIND],
  location: `${MESSAGES}dead_letter/`,
  origin: 'builtin',
};

export const CMBS_CATEGORIES: readonly Category[] = [
  member,
  message,
  neighbor,
  ...layerMixins,
  deadLetter,
  checkNeighbors,
  ...startActions,
  ...stopActions,
  execute,
  ...sendActions,
  resend,
  purge,
];

/** `l3.1` and `l3.2` are accepted wherever `l31` and `l32` are (layers.md, Vocabulary). */
const DOTTED: readonly (readonly [Layer, string])[] = [
  ['l31', 'l3.1'],
  ['l32', 'l3.2'],
];

export const CMBS_ALIASES: Aliases = {
  categories: Object.fromEntries(
    DOTTED.flatMap(([layer, dotted]) => [
      [CMBS_SCHEME + dotted, layerMixin(layer)],
      [`${MEMBER_ACTION_SCHEME}start_${dotted}`, `${MEMBER_ACTION_SCHEME}start_${layer}`],
      [`${MEMBER_ACTION_SCHEME}stop_${dotted}`, `${MEMBER_ACTION_SCHEME}stop_${layer}`],
      [`${MESSAGE_ACTION_SCHEME}send_${dotted}`, `${MESSAGE_ACTION_SCHEME}send_${layer}`],
    ]),
  ),
  attributes: Object.fromEntries(
    DOTTED.map(([layer, dotted]) => [`cmbs.member.${dotted}_socket`, MEMBER.socket(layer)]),
  ),
};
