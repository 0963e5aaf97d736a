/**
 * What a request carries, before anybody asks what it means: each rendering parses its bytes into this one form,
 * and `interpret.ts` reads it as entities, definitions, an action call, locations or a filter.
 */
import type { JsonObject } from '../json';
import type { CategoryClass } from './model';

/** A category named or defined by a client. Only term and scheme are sure to be there. */
export interface CategoryInput {
  readonly term: string;
  readonly scheme: string;
  /** May be missing in text (#22, #27); in JSON it follows from the array the category stood in. */
  readonly class?: CategoryClass;
  /** JSON, a category on its own: what it seems to be, in case that the server does not know it. */
  readonly likelyClass?: CategoryClass | undefined;
  readonly title?: string;
  /** Kind: its parent. */
  readonly parent?: string;
  /** Mixin: `depends` (or the text `rel`, or the nested dialect's `related`). */
  readonly depends?: readonly string[];
  readonly applies?: readonly string[];
  readonly actions?: readonly string[];
  readonly location?: string;
  /**
   * Attribute definitions as the dialect has them. Text: from `attributes="a{required} b{immutable}"`, already in
   * the flat form. JSON: as parsed, nested or flat; `definitions.ts` reads both.
   */
  readonly attributes?: JsonObject;
  /** `nested` is the original's lenient dialect. Definitions in text are as strict as those of GFD.226, without types. */
  readonly dialect: 'strict' | 'nested' | 'text';
  /** Names of the keys that the client gave beside term and scheme (an update changes only these). */
  readonly given: readonly string[];
}

/** A link named inside its source (#51): the `Link:` header or an element of `links` in JSON. */
export interface LinkInput {
  readonly target: string;
  /** Kinds or mixins of the link; the first known kind wins. */
  readonly categories: readonly string[];
  /** Location of the link itself, when given. */
  readonly self?: string;
  readonly id?: string;
  /** Text: what `rel` names. */
  readonly rel?: readonly string[];
  /** Nested or flat, without the ends in text. */
  readonly attributes: JsonObject;
  /** Text: the attributes that stood without quotes, as they stood there. */
  readonly tokens?: ReadonlyMap<string, string>;
  /** JSON: as in {@link EntityInput}. */
  readonly sourceText?: (names: readonly string[]) => string | undefined;
}

/** A resource or link as a JSON rendering holds it. */
export interface EntityInput {
  readonly kind?: string;
  readonly mixins: readonly string[];
  readonly id?: string;
  readonly title?: string;
  readonly summary?: string;
  /** Path or URL of source and target, for links. */
  readonly source?: string;
  readonly target?: string;
  /** Nested or flat, as it came; also the keys of both mixed. */
  readonly attributes: JsonObject;
  readonly links: readonly LinkInput[];
  /** True when it stood under `links`. */
  readonly isLink: boolean;
  /**
   * The source text of an attribute's value, for attributes kept rawJson. `names` are the keys from the
   * `attributes` object down, as they stood there (`['cmbs','message','message_content']` or `['a.b.c']`).
   */
  readonly sourceText: (names: readonly string[]) => string | undefined;
}

export interface ProviderInput {
  readonly category: string;
  readonly local: readonly string[];
  readonly remote: readonly string[];
}

export interface Payload {
  /** `none`: the request carried nothing. */
  readonly form: 'none' | 'text' | 'json';
  readonly categories: readonly CategoryInput[];
  /** Text: the `X-OCCI-Attribute` items (flat). JSON: a top-level `attributes` object without a kind. */
  readonly attributes: JsonObject;
  /** Text: `Link` items. JSON keeps links in their entity. */
  readonly links: readonly LinkInput[];
  readonly entities: readonly EntityInput[];
  /** URLs or paths: `X-OCCI-Location` items, `{"X-OCCI-Location":[…]}`, `{"Location":[…]}`, `{"locations":[…]}`, `["…"]`. */
  readonly locations: readonly string[];
  /** JSON only: identifier of the action (`{"action":id}` or the first of `{"actions":[…]}` where no kinds stand beside it). */
  readonly action?: string;
  readonly providers: readonly ProviderInput[];
  /** Top-level JSON keys, so that an empty list can be told from an absent one. */
  readonly keys: ReadonlySet<string>;
  /** As in {@link EntityInput}, for the values of {@link attributes}. */
  readonly sourceText?: (names: readonly string[]) => string | undefined;
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
