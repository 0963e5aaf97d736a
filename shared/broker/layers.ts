/** The five layers of the broker (docs/layers.md). */
import { toAllOthers, toNamedSocket, toProviders, toTopics } from './addressing';
import { listAttribute, MESSAGE, textAttribute } from './cmbs';
import { Layers, type LayerDefinition } from './layer-definition';
import { onlyReply, publications, replies, states } from './results';

/** Ports are those of the original program. */
export const BUILT_IN_LAYERS: readonly LayerDefinition[] = [
  {
    name: 'l1',
    title: 'L1 CMBS message',
    port: 5010,
    attributes: { [MESSAGE.receiver]: textAttribute({ description: 'The L1 socket that receives it' }) },
    channel: 'request',
    usesMemberAddresses: false,
    isOriginal: true,
    tellsPartialResult: false,
    deliveries: toNamedSocket,
    result: onlyReply,
  },
  {
    name: 'l2',
    title: 'L2 CMBS message',
    port: 5020,
    attributes: {},
    channel: 'broadcast',
    usesMemberAddresses: true,
    tellsPartialResult: true,
    deliveries: (addressing) => toAllOthers(addressing, 'l2'),
    result: states,
  },
  {
    name: 'l31',
    aliases: ['l3.1'],
    title: 'L31 CMBS message',
    port: 5031,
    attributes: { [MESSAGE.providers]: listAttribute('Members that receive it: id, URI or title') },
    channel: 'request',
    usesMemberAddresses: true,
    tellsPartialResult: true,
    deliveries: (addressing) => toProviders(addressing, 'l31', 'request'),
    result: replies,
  },
  {
    name: 'l32',
    aliases: ['l3.2'],
    title: 'L32 CMBS message',
    port: 5032,
    attributes: { [MESSAGE.topics]: listAttribute('Topics it is published on') },
    channel: 'bus',
    usesMemberAddresses: true,
    tellsPartialResult: true,
    deliveries: (addressing) => toTopics(addressing, 'l32', false),
    result: publications,
  },
  {
    name: 'l4',
    title: 'L4 CMBS message',
    port: 5040,
    attributes: {
      [MESSAGE.providers]: listAttribute('Members that may receive it; empty: all with the topic'),
      [MESSAGE.topics]: listAttribute('Topics it is published on; empty: all listed members'),
    },
    channel: 'bus',
    usesMemberAddresses: true,
    selectsProviders: true,
    tellsPartialResult: true,
    deliveries: (addressing) => toTopics(addressing, 'l4', true),
    result: publications,
  },
];

/** The layers of a program: the built-in ones and those that it adds. */
export const layersOf = (additional: readonly LayerDefinition[] = []): Layers =>
  new Layers([...BUILT_IN_LAYERS, ...additional]);
