/** OCCI: the model, categories, entities, actions, filters and renderings. */
export { Actions, type ActionRequest, actOnce } from './actions';
export { Categories, type CategoriesOptions } from './categories/categories';
export type { Freshness } from './categories/follower';
export { type Aliases, CategoryRegistry } from './category-registry';
export { actionInput, drafts, singleDraft } from './drafts';
export type { Noted, Precondition, Requester } from './entities/context';
export { Entities } from './entities/entities';
export { type Cursors, READABLE_CURSORS } from './entities/cursors';
export type { Part, Visibility } from './entities/visibility';
export { collectionResource, type NamedRequest, type OpenCollection, type PageRequest } from './entities/listing';
export {
  attributeField,
  CATEGORY_FIELD,
  GROUP_FIELD,
  indexText,
  keyField,
  OWNER_FIELD,
  TARGET_FIELD,
} from './entity-index';
export {
  deleteEntity,
  ENTITIES,
  entitiesOf,
  INDEX_VERSION,
  readEntities,
  readEntity,
  stateOf,
  type StoredEntity,
  writeEntity,
} from './entity-store';
export { checkFilter, type Filter, isEmptyFilter } from './filter';
export { joinFilters, payloadFilter, queryFilter } from './filter-input';
export {
  AnsweredRequests,
  checkIdempotencyKey,
  earlierAnswer,
  fingerprint,
  type IdempotentRequest,
  rememberAnswer,
} from './idempotency';
export { IdempotentRuns, type IdempotentRunsOptions } from './idempotent-runs';
export { infrastructure, INFRASTRUCTURE_CATEGORIES } from './infrastructure';
export { nestsWithin } from '../json-depth';
export {
  type ExactObject,
  type JsonActOptions,
  type JsonCaller,
  type JsonCreateOptions,
  type JsonCreated,
  JsonEntities,
  type JsonListOptions,
  type JsonPage,
  type JsonWriteOptions,
} from './json-entities';
export { sourceOf } from './json-source';
export {
  type Action,
  type AttributeSpec,
  type AttributeSpecs,
  type Category,
  type CategoryId,
  categoryId,
  CORE_SCHEME,
  CORE_SOURCE,
  CORE_SUMMARY,
  CORE_TARGET,
  CORE_TITLE,
  type Entity,
  type EntityView,
  type Kind,
  LINK_KIND,
  type Mixin,
  type Path,
  RESOURCE_KIND,
  splitCategoryId,
} from './model';
export {
  checkId,
  isCollectionPath,
  isSegment,
  pathUnder,
  prefixOf,
  splitLocation,
  unescapedPath,
  withoutPrefix,
} from './paths';
export { EMPTY_PAYLOAD, type Payload } from './payload';
export { inPortions, type Portioned, Portions } from './portions';
export type {
  ActionCall,
  ActionOutcome,
  Change,
  ChangeRequest,
  Completion,
  Extension,
  Intent,
  Provider,
} from './provider';
export { type JsonOutputObject, RawJson, stringifyJson } from './raw-json';
export { dialectOf } from './renderings/dialect';
export { chooseOffer, parseMediaType } from './renderings/media-type';
export {
  contextOf,
  type RawInput,
  type RenderContext,
  type Rendered,
  type Rendering,
} from './renderings/rendering';
export { Renderings, RENDERINGS, STANDARD_RENDERINGS, TEXT_PLAIN } from './renderings/renderings';
export { referenceTo } from './renderings/urls';
export type { Progress } from './steps';
