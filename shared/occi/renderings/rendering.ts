/**
 * The interface of a rendering: one data format of OCCI in both directions. To add a rendering, implement
 * {@link Rendering} and pass it to `Renderings`. Content negotiation and the `Accept` header of answers follow.
 */
import type { CmbsError } from '../../errors';
import type { Json } from '../../json';
import type { AttributeSpec, Category, Dialect, Entity, EntityView, Path } from '../model';
import type { CategoryRegistry } from '../category-registry';
import type { Payload } from '../payload';

/** The parts of a request that a rendering reads. */
export interface RawInput {
  /** Names in lower case; a repeated header has several values. */
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
  /** Scheme and authority in front of every path, without a final slash. */
  readonly base: string;
  /** Definition of an attribute of an entity or link, which decides how the value is written. */
  readonly specOf: (of: Pick<Entity, 'kind' | 'mixins'>, name: string) => AttributeSpec | undefined;
  /** Title of an action or category, for formats that show titles. */
  readonly titleOf: (id: string) => string | undefined;
}

/** @param base as {@link RenderContext.base}; empty: renderings show paths */
export const contextOf = (base: string, registry: CategoryRegistry): RenderContext => ({
  base,
  specOf: ({ kind, mixins }, name) => {
    const specs = registry.specs(kind, mixins);
    return Object.hasOwn(specs, name) ? specs[name] : undefined;
  },
  titleOf: (id) => registry.find(id)?.title,
});

export interface Rendering<Body extends RenderedBody = RenderedBody> {
  /** Answers name the first type; requests may have any of them. */
  readonly mediaTypes: readonly [string, ...string[]];
  /** The profile of this rendering, if the media type has several. */
  readonly profile?: Dialect | 'by category';
  /** This rendering in one dialect, if the media type leaves the dialect open. Errors and categories are in GFD.226. */
  readonly inDialect?: (dialect: Dialect) => Rendering<Body>;
  /** Whether requests carry their payload in headers, with or without a body. */
  readonly readsHeaders?: boolean;
  /** False for formats that show collections only. Requests whose answer shows an entity are then refused. */
  readonly canShowEntity?: boolean;
  /** @throws CmbsError `bad_request`, `bad_attribute` and no other error, whatever the bytes */
  parse(input: RawInput): Payload;
  entity(view: EntityView, context: RenderContext): Rendered<Body>;
  /** A collection. GFD.226's JSON shows the entities, other formats show their locations. */
  collection(views: readonly EntityView[], context: RenderContext): Rendered<Body>;
  /** {@link collection} in pieces, which are made while the client reads them; for formats that show entities. */
  readonly collectionPieces?: (
    views: readonly EntityView[],
    context: RenderContext,
  ) => { readonly headers: Rendered['headers']; readonly texts: Iterable<string> };
  /** True if {@link collection} needs only the paths, so that the caller need not load links and actions. */
  readonly collectionIsLocations: boolean;
  /** The answer to a creation: the locations of the new entities. */
  created(paths: readonly Path[], context: RenderContext): Rendered<Body>;
  /** The answer to a request that succeeded and has nothing to show. */
  done(): Rendered<Body>;
  /** The query interface (GFD.223 §9.1): kinds, then mixins, then actions. */
  categories(categories: readonly Category[], context: RenderContext): Rendered<Body>;
  /** A flat set of values: the answer of an action that returns something other than the entity. */
  attributes(values: Readonly<Record<string, Json>>, context: RenderContext): Rendered<Body>;
  /** One sentence and a code, never a stack. */
  error(error: CmbsError): Rendered<Body>;
}

export type RenderedText = Rendered<string>;
export type TextRendering = Rendering<string>;
