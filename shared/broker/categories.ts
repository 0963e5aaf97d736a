/** The built-in CMBS kinds, mixins and actions, with the identifiers and locations of the original program. */
import { patternKey } from '../bus';
import {
  type Action,
  type AttributeSpec,
  type AttributeSpecs,
  categoryId,
  type Extension,
  type Kind,
  LINK_KIND,
  type Mixin,
  RESOURCE_KIND,
} from '../occi';
import {
  ARRAY_OR_STRING,
  CMBS_SCHEME,
  FROM,
  layerMixin,
  listAttribute,
  MEMBER,
  MEMBER_ACTION_SCHEME,
  MEMBERS,
  MESSAGE,
  MESSAGE_ACTION_SCHEME,
  MESSAGE_KIND,
  MESSAGES,
  NEIGHBORS,
  textAttribute,
} from './cmbs';
import type { Layers } from './layer-definition';
import { layersOf } from './layers';
import { patternsIn } from './member';

const flag = (description: string): AttributeSpec =>
  textAttribute({ default: 'true', pattern: { form: 'regex', source: '(?:true|false)$' }, description });
const readOnly = (description: string): AttributeSpec =>
  textAttribute({ type: 'object', mutable: false, description });
/** Strict: these attributes are ours, so no old data can break them. */
const added = (type: AttributeSpec['type'], description: string): AttributeSpec => ({
  type,
  required: false,
  mutable: true,
  lenient: false,
  description,
});

const memberAttributes = ({ names }: Layers): AttributeSpecs => ({
  [MEMBER.state]: textAttribute({
    default: 'inactive',
    pattern: { form: 'regex', source: '(?:active|inactive|suspended|failed)$' },
    description: 'Only a suspended member has its reliable messages withheld',
  }),
  [MEMBER.local]: textAttribute({
    required: true,
    default: 'true',
    pattern: { form: 'regex', source: '(?:true|false)$' },
    description: 'true: sockets are opened by this deployment; false: a description learnt from elsewhere',
  }),
  ...Object.fromEntries(
    names.map((layer) => [
      MEMBER.socket(layer),
      textAttribute({ description: `What others connect to for ${layer}` }),
    ]),
  ),
  [MEMBER.neighbors]: listAttribute('L1 sockets to start discovery from'),
  [MEMBER.topics]: {
    ...listAttribute('Topic names or patterns the member wants (L3.2, L4)'),
    keysOf: (topics) => patternsIn(topics).map(patternKey),
  },
  [MEMBER.start]: textAttribute({
    type: 'array',
    pattern: ARRAY_OR_STRING,
    description: 'Layers to start with this request; not kept',
  }),
  [MEMBER.layers]: readOnly('Per layer: started, stopped or failed with the reason, as the companion observes it'),
});

const messageAttributes = ({ names }: Layers): AttributeSpecs => ({
  [MESSAGE.layer]: textAttribute({
    pattern: { form: 'regex', source: `(?:${names.join('|')})$` },
    description: 'The layer whose send action applies',
  }),
  [MESSAGE.executable]: flag('May a receiver execute it'),
  [MESSAGE.sendable]: flag('May it be sent'),
  [MESSAGE.storable]: flag('Does a receiver keep a copy'),
  [MESSAGE.pathHistory]: listAttribute('URIs of the members it passed'),
  [MESSAGE.content]: textAttribute({ type: 'any', rawJson: true, description: 'Any JSON value, kept as it came' }),
  [MESSAGE.result]: textAttribute({ type: 'any', rawJson: true, apart: true, description: 'What came back' }),
  [MESSAGE.delivery]: {
    ...readOnly('State, counts, attempts, times and one entry per receiver'),
    indexedMembers: ['state', 'send_id', 'from'],
  },
  [MESSAGE.expiresAt]: added('string', 'RFC 3339 time after which it is not delivered any more'),
  [MESSAGE.orderingKey]: added('string', 'Messages with one key are delivered in order (L3.2, L4)'),
  [MESSAGE.headers]: added('object', "The caller's own keys and values, carried along"),
});

const action = (scheme: string, term: string, title: string, attributes: AttributeSpecs = {}): Action => ({
  class: 'action',
  term,
  scheme,
  title,
  attributes,
  origin: 'builtin',
});

const fromAttribute: AttributeSpecs = {
  [FROM]: added('string', 'Id or URI of the local member that acts; needed when there are several'),
};

interface LayerActions {
  readonly start: readonly Action[];
  readonly stop: readonly Action[];
  readonly send: readonly Action[];
}

const layerActions = ({ names }: Layers): LayerActions => ({
  start: names.map((layer) => action(MEMBER_ACTION_SCHEME, `start_${layer}`, `Open the ${layer} socket`)),
  stop: names.map((layer) => action(MEMBER_ACTION_SCHEME, `stop_${layer}`, `Close the ${layer} socket`)),
  send: names.map((layer) => action(MESSAGE_ACTION_SCHEME, `send_${layer}`, `Send on ${layer}`, fromAttribute)),
});

const checkNeighbors = action(
  MEMBER_ACTION_SCHEME,
  'check_neighbors',
  'Discover the members behind the neighbours',
);
const execute = action(MESSAGE_ACTION_SCHEME, 'execute', 'Execute the message here', fromAttribute);
const resend = action(MESSAGE_ACTION_SCHEME, 'resend', 'Send a dead letter again', fromAttribute);
const purge = action(MESSAGE_ACTION_SCHEME, 'purge', 'Delete a dead letter');

const memberKind = (layers: Layers, { start, stop }: LayerActions): Kind => ({
  class: 'kind',
  dialect: 'nested',
  term: 'member',
  scheme: CMBS_SCHEME,
  title: 'CMBS member',
  parent: RESOURCE_KIND,
  attributes: memberAttributes(layers),
  actions: [checkNeighbors, ...start, ...stop].map(categoryId),
  location: MEMBERS,
  origin: 'builtin',
});

const messageKind = (layers: Layers): Kind => ({
  class: 'kind',
  dialect: 'nested',
  term: 'message',
  scheme: CMBS_SCHEME,
  title: 'CMBS message',
  parent: RESOURCE_KIND,
  attributes: messageAttributes(layers),
  actions: [categoryId(execute)],
  location: MESSAGES,
  origin: 'builtin',
});

const neighborKind: Kind = {
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

const layerMixins = ({ all }: Layers, { send }: LayerActions): readonly Mixin[] =>
  all.map(({ name, title, attributes }, at) => ({
    class: 'mixin',
    dialect: 'nested',
    term: name,
    scheme: CMBS_SCHEME,
    title,
    attributes,
    actions: [categoryId(send[at] as Action)],
    depends: [],
    applies: [MESSAGE_KIND],
    location: `${MESSAGES}${name}/`,
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

/** Other spellings of a layer are accepted in the ids of its mixin and actions, and in the name of its attribute. */
function aliasesOf({ all }: Layers): NonNullable<Extension['aliases']> {
  const spellings = all.flatMap(({ name, aliases = [] }) => aliases.map((alias) => [name, alias] as const));
  return {
    categories: Object.fromEntries(
      spellings.flatMap(([name, alias]) => [
        [CMBS_SCHEME + alias, layerMixin(name)],
        [`${MEMBER_ACTION_SCHEME}start_${alias}`, `${MEMBER_ACTION_SCHEME}start_${name}`],
        [`${MEMBER_ACTION_SCHEME}stop_${alias}`, `${MEMBER_ACTION_SCHEME}stop_${name}`],
        [`${MESSAGE_ACTION_SCHEME}send_${alias}`, `${MESSAGE_ACTION_SCHEME}send_${name}`],
      ]),
    ),
    attributes: Object.fromEntries(spellings.map(([name, alias]) => [MEMBER.socket(alias), MEMBER.socket(name)])),
  };
}

/** The CMBS extension without providers: for a program that stores members and messages and does not act on them. */
export function cmbsCategories(layers: Layers): Extension {
  const actions = layerActions(layers);
  const categories = [
    memberKind(layers, actions),
    messageKind(layers),
    neighborKind,
    ...layerMixins(layers, actions),
    deadLetter,
    checkNeighbors,
    ...actions.start,
    ...actions.stop,
    execute,
    ...actions.send,
    resend,
    purge,
  ];
  return {
    name: 'cmbs',
    categories,
    providers: [],
    bindings: {},
    aliases: aliasesOf(layers),
    mergeable: categories.map(categoryId),
  };
}

/** {@link cmbsCategories} with the built-in layers. */
export const CMBS_EXTENSION = cmbsCategories(layersOf());
