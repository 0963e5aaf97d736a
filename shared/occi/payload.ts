/**
 * The content of a request in one form for all renderings. Each rendering parses its bytes into a {@link Payload};
 * `drafts.ts` and `filter-input.ts` interpret it as entities, an action call or a filter.
 */
import type { JsonObject } from '../json';
import type { CategoryClass } from './model';

/** A category that a client names or defines. Only term and scheme are always present. */
export interface CategoryInput {
  readonly term: string;
  readonly scheme: string;
  /** May be absent in text; in JSON it follows from the list that the category was in. */
  readonly class?: CategoryClass;
  /** The class that a JSON body suggests if the category is the whole body; for categories that the server does not know. */
  readonly likelyClass?: CategoryClass | undefined;
  readonly title?: string;
  /** Parent of a kind. */
  readonly parent?: string;
  /** Dependencies of a mixin: `depends`, `rel` in text, `related` in the nested dialect. */
  readonly depends?: readonly string[];
  readonly applies?: readonly string[];
  readonly actions?: readonly string[];
  readonly location?: string;
  /**
   * Attribute definitions in the form of the dialect. From text (`attributes="a{required} b{immutable}"`) they are flat
   * already. From JSON they are as parsed, nested or flat, and `categories/attribute-definitions.ts` reads both.
   */
  readonly attributes?: JsonObject;
  /** `nested` is the original's lenient dialect. Definitions in text are as strict as GFD.226's, but have no types. */
  readonly dialect: 'strict' | 'nested' | 'text';
  /** Keys that the client gave besides term and scheme. An update changes only these. */
  readonly given: readonly string[];
}

/** The source text of a JSON value, for values that are kept as raw JSON. `names` are the keys that lead to the value. */
export type SourceText = (names: readonly string[]) => string | undefined;

/** A link inside its source (GFD.185 §3.4.5): a `Link` header, or an element of `links` in JSON. */
export interface LinkInput {
  readonly target: string;
  /** Kinds or mixins of the link; the first known kind wins. */
  readonly categories: readonly string[];
  /** Location of the link itself. */
  readonly self?: string;
  readonly id?: string;
  /** Categories in the parameter `rel` of a text rendering. */
  readonly rel?: readonly string[];
  /** Nested or flat; from text without source and target. */
  readonly attributes: JsonObject;
  /** Present in links from text: the source texts of attributes without quotes. */
  readonly tokens?: ReadonlyMap<string, string>;
  /** Present in links from JSON, from the `attributes` object down. */
  readonly sourceText?: SourceText;
}

/** A resource or link from a JSON rendering. */
export interface EntityInput {
  readonly kind?: string;
  readonly mixins: readonly string[];
  readonly id?: string;
  readonly title?: string;
  readonly summary?: string;
  /** Path or URL of a link's source. */
  readonly source?: string;
  /** Path or URL of a link's target. */
  readonly target?: string;
  /** Nested names, flat names, or both, as parsed. */
  readonly attributes: JsonObject;
  readonly links: readonly LinkInput[];
  /** True if the entity was in a list of links. */
  readonly isLink: boolean;
  /** From the `attributes` object down (`['cmbs','message','message_content']` or `['a.b.c']`). */
  readonly sourceText: SourceText;
}

/** The binding of a kind to providers (docs/occi.md, "Categories"). */
export interface ProviderInput {
  readonly category: string;
  readonly local: readonly string[];
  readonly remote: readonly string[];
}

export interface Payload {
  /** `none`: the request had no content. */
  readonly form: 'none' | 'text' | 'json';
  readonly categories: readonly CategoryInput[];
  /** The `X-OCCI-Attribute` items of text (flat), or a top-level `attributes` object without a kind. */
  readonly attributes: JsonObject;
  /** The `Link` items of text. In JSON, links belong to their entity. */
  readonly links: readonly LinkInput[];
  readonly entities: readonly EntityInput[];
  /** URLs or paths: `X-OCCI-Location` items, `{"X-OCCI-Location":[…]}`, `{"Location":[…]}`, `{"locations":[…]}`, `["…"]`. */
  readonly locations: readonly string[];
  /** Identifier of the action in JSON: `{"action":id}`, or the first of `{"actions":[…]}` without kinds beside it. */
  readonly action?: string;
  readonly providers: readonly ProviderInput[];
  /** Top-level JSON keys, to tell an empty list from an absent one. */
  readonly keys: ReadonlySet<string>;
  /** For the values of {@link attributes}. */
  readonly sourceText?: SourceText;
}

export const EMPTY_PAYLOAD: Payload = {
  form: 'none',
  categories: [],
  attributes: {},
  links: [],
  entities: [],
  locations: [],
  providers: [],
  keys: new Set(),
};
