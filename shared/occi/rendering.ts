/**
 * A rendering is one data format of OCCI in both directions. To add a rendering, implement {@link Rendering} and pass it
 * to `Renderings`; content negotiation and the `Accept` header of answers follow.
 */
import type { Json } from '../json';
import type { CmbsError } from '../errors';
import type { AttributeSpec, Category, Dialect, Entity, EntityView, Path } from './model';
import type { Payload } from './payload';

/** The parts of a request that a rendering reads. */
export interface RawInput {
  /** Lower-case names; a repeated header has several values. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly body: Buffer;
}

/** Text, which is sent as UTF-8, or bytes. */
export type RenderedBody = string | Uint8Array;

export interface Rendered<Body extends RenderedBody = RenderedBody> {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Body;
}

export interface RenderContext {
  /** Scheme and authority in front of every path, without a slash at the end. */
  readonly base: string;
  /** Declared attributes of an entity or link, to tell how a value is written. */
  readonly specOf: (of: Pick<Entity, 'kind' | 'mixins'>, name: string) => AttributeSpec | undefined;
  /** Title of an action or category, where a format shows one. */
  readonly titleOf: (id: string) => string | undefined;
}

export interface Rendering<Body extends RenderedBody = RenderedBody> {
  /** The first is the name used in responses; all are accepted in requests. */
  readonly mediaTypes: readonly [string, ...string[]];
  /** The profile of this rendering, of a media type that has several. */
  readonly profile?: Dialect | 'by category';
  /** The rendering in one dialect, where the media type leaves the dialect open. Errors and categories are in GFD.226. */
  readonly inDialect?: (dialect: Dialect) => Rendering<Body>;
  /** Whether requests carry their payload in headers, beside or without a body (#69). */
  readonly readsHeaders?: boolean;
  /** False for formats of collections alone; requests whose answer shows an entity are then refused (#72). */
  readonly canShowEntity?: boolean;
  /** @throws CmbsError `bad_request`, `bad_attribute` and nothing else, whatever the bytes */
  parse(input: RawInput): Payload;
  entity(view: EntityView, context: RenderContext): Rendered<Body>;
  /** A collection. JSON of GFD.226 shows the entities, the others their locations (#53). */
  collection(views: readonly EntityView[], context: RenderContext): Rendered<Body>;
  /** {@link collection} in pieces, which are made while the client reads them; for formats that show entities. */
  readonly collectionPieces?: (
    views: readonly EntityView[],
    context: RenderContext,
  ) => { readonly headers: Rendered['headers']; readonly texts: Iterable<string> };
  /** True when {@link collection} needs only the paths: the caller then need not load links and actions. */
  readonly collectionIsLocations: boolean;
  /** Answer to a creation: the locations of the new entities. */
  created(paths: readonly Path[], context: RenderContext): Rendered<Body>;
  /** Answer to a request that succeeded and has nothing to show. */
  done(): Rendered<Body>;
  /** The query interface (#1, #17). Kinds, then mixins, then actions. */
  categories(categories: readonly Category[], context: RenderContext): Rendered<Body>;
  /** A flat set of values: the answer of an action that returns something other than the entity. */
  attributes(values: Readonly<Record<string, Json>>, context: RenderContext): Rendered<Body>;
  /** One sentence and a code; never a stack. */
  error(error: CmbsError): Rendered<Body>;
}

export type RenderedText = Rendered<string>;
export type TextRendering = Rendering<string>;
