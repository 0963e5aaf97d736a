/**
 * A rendering is one data format of OCCI in both directions. To add one: implement this interface in a file of its
 * own and put it into the list in `renderings.ts`; content negotiation and the `Accept` response header
 * follow from the list.
 */
import type { Json } from '../json';
import type { CmbsError } from '../errors';
import type { AttributeSpec, Category, Dialect, Entity, EntityView, Path } from './model';
import type { Payload } from './payload';

/** What a rendering reads: the body, and the request headers for `text/occi`. */
export interface RawInput {
  /** Lower-case names; a repeated header has several values. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly body: Buffer;
}

export interface Rendered {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface RenderContext {
  /** Scheme and authority in front of every path, without a slash at the end. */
  readonly base: string;
  /** Declared attributes of an entity or link, to tell how a value is written. */
  readonly specOf: (of: Pick<Entity, 'kind' | 'mixins'>, name: string) => AttributeSpec | undefined;
  /** Title of an action or category, where a format shows one. */
  readonly titleOf: (id: string) => string | undefined;
}

export interface Rendering {
  /** The first is the name used in responses; all are accepted in requests. */
  readonly mediaTypes: readonly [string, ...string[]];
  /** Where the media type has profiles: the one that this is. */
  readonly profile?: Dialect | 'by category';
  /** Where the media type leaves the dialect open: the rendering in one of them. What has no category is in GFD.226. */
  readonly inDialect?: (dialect: Dialect) => Rendering;
  /** Throws `CmbsError` (`bad_request`, `bad_attribute`) and nothing else, whatever the bytes. */
  parse(input: RawInput): Payload;
  entity(view: EntityView, context: RenderContext): Rendered;
  /** A collection. JSON of GFD.226 shows the entities, the others their locations (#53). */
  collection(views: readonly EntityView[], context: RenderContext): Rendered;
  /** The same, text by text, where a collection may be large; made while it is read. */
  readonly collectionPieces?: (
    views: readonly EntityView[],
    context: RenderContext,
  ) => { readonly headers: Rendered['headers']; readonly texts: Iterable<string> };
  /** True when {@link collection} needs only the paths: the caller then need not load links and actions. */
  readonly collectionIsLocations: boolean;
  /** Answer to a creation: the locations of what was made. */
  created(paths: readonly Path[], context: RenderContext): Rendered;
  /** Answer to what was done and has nothing to show. */
  done(): Rendered;
  /** The query interface (#1, #17). Kinds, then mixins, then actions. */
  categories(categories: readonly Category[], context: RenderContext): Rendered;
  /** A flat set of values: the answer of an action that returns something other than the entity. */
  attributes(values: Readonly<Record<string, Json>>, context: RenderContext): Rendered;
  /** One sentence and a code; never a stack. */
  error(error: CmbsError): Rendered;
}
