/**
 * Objects of devices, as oBIX 1.1 describes them. They are immutable: {@link DeviceObjects} makes them from drafts,
 * and checks them. `element` says which facets an object has, `class` which fields of a contract; `switch` on either.
 */
import type { Element, OwnFacets, Status } from './elements';
import type { AbsoluteTime } from './times';

/** What every object has. An absent facet has no key. */
export interface CommonFacets {
  readonly name?: string;
  /** As the device wrote it: `absoluteHrefs` resolves it. */
  readonly href?: string;
  /** URIs of contracts. */
  readonly is: readonly string[];
  readonly display?: string;
  readonly displayName?: string;
  readonly icon?: string;
  readonly location?: string;
  readonly status: Status;
  /** A null object has no value. */
  readonly isNull: boolean;
  readonly writable: boolean;
  readonly children: readonly DeviceObject[];
}

type Faceted<E extends Element> = CommonFacets & {
  readonly element: E;
  /** The name of the element on the wire, for an element that was registered from outside. */
  readonly tag?: string;
} & OwnFacets<E>;

/** The class of an object that has no contract with a class of its own. */
export const CLASS_OF_ELEMENT = {
  obj: 'object',
  bool: 'boolean',
  int: 'integer',
  real: 'real',
  str: 'string',
  enum: 'enum',
  uri: 'uri',
  abstime: 'absoluteTime',
  reltime: 'relativeTime',
  date: 'date',
  time: 'time',
  list: 'list',
  op: 'operation',
  feed: 'feed',
  ref: 'reference',
  err: 'error',
} as const satisfies Record<Element, string>;

type ElementObject = {
  readonly [E in Element]: Faceted<E> & { readonly class: (typeof CLASS_OF_ELEMENT)[E] };
}[Element];

type ContractObject = {
  readonly [C in keyof ContractFields]: Faceted<C extends 'watchInItem' ? 'uri' : 'obj'> & {
    readonly class: C;
    readonly fields: ContractFields[C];
  };
}[keyof ContractFields];

/** The class of a definition from outside; the colon keeps it apart from those of this program. */
export type CustomClass = `${string}:${string}`;
export type CustomObject = {
  readonly [E in Element]: Faceted<E> & { readonly class: CustomClass; readonly fields: object };
}[Element];

export type DeviceObject = ElementObject | ContractObject | CustomObject;
export type DeviceClass = DeviceObject['class'];

/** An object of a class, or of an element. */
export type OfClass<C extends DeviceClass> = Extract<DeviceObject, { readonly class: C }>;
export type OfElement<E extends Element> = Extract<DeviceObject, { readonly element: E }>;

/** What an object is made from: an element and facets. Every object is a draft, too. */
export type Draft = {
  readonly [E in Element]: Partial<Omit<CommonFacets, 'children'>> & {
    readonly element: E;
    readonly tag?: string;
    readonly children?: readonly Draft[];
  } & OwnFacets<E>;
}[Element];

/** Operations of an object: name → href, as the device wrote it. */
export type Operations = Readonly<Record<string, string>>;

export interface WatchFields {
  /** Nanoseconds until the watch expires, unless it is used. */
  readonly lease?: bigint;
  readonly operations: Operations;
}

/** An href to watch, and the argument for a feed: a filter. */
export interface WatchItemFields {
  readonly target: string;
  readonly in?: DeviceObject;
}

export interface WatchInFields {
  readonly items: readonly WatchItemFields[];
}

export interface WatchOutFields {
  /** Objects with absolute hrefs, and errors. */
  readonly values: readonly DeviceObject[];
}

export interface HistoryFields {
  readonly count?: bigint;
  readonly start?: AbsoluteTime;
  readonly end?: AbsoluteTime;
  readonly tz?: string;
  /** The href of the feed. */
  readonly feed?: string;
  readonly operations: Operations;
}

export interface HistoryFilterFields {
  /** The number of records, from the newest on. */
  readonly limit?: bigint;
  readonly start?: AbsoluteTime;
  readonly end?: AbsoluteTime;
}

export interface HistoryRecordFields {
  readonly time?: AbsoluteTime;
  /** The recorded object. */
  readonly value?: DeviceObject;
}

/** Of a history, or of an answer about one. */
export interface Extent {
  readonly count?: bigint;
  readonly start?: AbsoluteTime;
  readonly end?: AbsoluteTime;
}

export interface HistoryQueryOutFields extends Extent {
  readonly records: readonly HistoryRecordFields[];
}

export interface HistoryRollupInFields extends HistoryFilterFields {
  /** Nanoseconds of a bucket. */
  readonly interval?: bigint;
}

export interface HistoryRollupRecordFields extends Extent {
  readonly min?: number;
  readonly max?: number;
  readonly avg?: number;
  readonly sum?: number;
}

export interface HistoryRollupOutFields extends Extent {
  readonly records: readonly HistoryRollupRecordFields[];
}

export interface HistoryAppendInFields {
  readonly records: readonly HistoryRecordFields[];
}

export interface HistoryAppendOutFields {
  readonly numAdded?: bigint;
  readonly newCount?: bigint;
  readonly newStart?: AbsoluteTime;
  readonly newEnd?: AbsoluteTime;
}

/** The fields of each class. */
export interface ContractFields {
  watch: WatchFields;
  watchIn: WatchInFields;
  watchInItem: WatchItemFields;
  watchOut: WatchOutFields;
  history: HistoryFields;
  historyFilter: HistoryFilterFields;
  historyQueryOut: HistoryQueryOutFields;
  historyRecord: HistoryRecordFields;
  historyRollupIn: HistoryRollupInFields;
  historyRollupOut: HistoryRollupOutFields;
  historyRollupRecord: HistoryRollupRecordFields;
  historyAppendIn: HistoryAppendInFields;
  historyAppendOut: HistoryAppendOutFields;
  nil: object;
}
export type ContractClass = keyof ContractFields;
