/** The three kinds of the OCCI core (GFD.183 §4.5), from which all other kinds descend. `entity` is abstract. */
import {
  CORE_ID,
  CORE_SCHEME,
  CORE_SOURCE,
  CORE_SUMMARY,
  CORE_TARGET,
  CORE_TITLE,
  ENTITY_KIND,
  type AttributeSpec,
  type Kind,
} from './model';

const text: AttributeSpec = { type: 'string', required: false, mutable: true, lenient: false };

export const CORE_KINDS: readonly Kind[] = [
  {
    class: 'kind',
    term: 'entity',
    scheme: CORE_SCHEME,
    title: 'Entity',
    attributes: {
      [CORE_ID]: { ...text, mutable: false, description: 'Unique identifier' },
      [CORE_TITLE]: { ...text, description: 'Display name' },
    },
    actions: [],
    origin: 'builtin',
  },
  {
    class: 'kind',
    term: 'resource',
    scheme: CORE_SCHEME,
    title: 'Resource',
    parent: ENTITY_KIND,
    attributes: { [CORE_SUMMARY]: { ...text, description: 'Summary' } },
    actions: [],
    location: '/resource/',
    origin: 'builtin',
  },
  {
    class: 'kind',
    term: 'link',
    scheme: CORE_SCHEME,
    title: 'Link',
    parent: ENTITY_KIND,
    attributes: {
      [CORE_SOURCE]: { ...text, required: true, description: 'Location of the resource the link starts at' },
      [CORE_TARGET]: { ...text, required: true, description: 'Location of the resource the link points at' },
    },
    actions: [],
    location: '/link/',
    origin: 'builtin',
  },
];
