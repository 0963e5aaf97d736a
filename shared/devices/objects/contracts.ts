/**
 * The contracts of oBIX that have classes of their own, and the fields that are read from their children: watches
 * (oBIX 1.1, "Watches") and histories ("Histories"). A field is absent where the child is missing, is null, or is of
 * another element; gateways leave out many.
 */
import type { Element } from './elements';
import type {
  ContractClass,
  ContractFields,
  DeviceObject,
  Extent,
  HistoryFilterFields,
  HistoryRecordFields,
  HistoryRollupRecordFields,
  Operations,
  WatchItemFields,
} from './object';
import type { AbsoluteTime } from './times';
import { child } from './tree';

/** The fields that are defined, so that an absent field has no key. */
const present = <T extends object>(fields: { [K in keyof T]: T[K] | undefined }): T =>
  Object.freeze(Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))) as T;

function integerIn(object: DeviceObject, name: string): bigint | undefined {
  const found = child(object, name);
  return found?.element === 'int' ? found.value : undefined;
}

function timeIn(object: DeviceObject, name: string): AbsoluteTime | undefined {
  const found = child(object, name);
  return found?.element === 'abstime' ? found.value : undefined;
}

function durationIn(object: DeviceObject, name: string): bigint | undefined {
  const found = child(object, name);
  return found?.element === 'reltime' ? found.value : undefined;
}

/** Gateways write integers and reals. */
function numberIn(object: DeviceObject, name: string): number | undefined {
  const found = child(object, name);
  if (found?.element === 'int') return found.value === undefined ? undefined : Number(found.value);
  return found?.element === 'real' ? found.value : undefined;
}

function operationsOf(object: DeviceObject): Operations {
  const operations = object.children.filter(({ element }) => element === 'op');
  return Object.freeze(
    Object.fromEntries(operations.flatMap(({ name, href }) => (name && href ? [[name, href]] : []))),
  );
}

const filterOf = (
  object: DeviceObject,
): { [K in keyof HistoryFilterFields]-?: HistoryFilterFields[K] | undefined } => ({
  limit: integerIn(object, 'limit'),
  start: timeIn(object, 'start'),
  end: timeIn(object, 'end'),
});

const extentOf = (object: DeviceObject): { [K in keyof Extent]-?: Extent[K] | undefined } => ({
  count: integerIn(object, 'count'),
  start: timeIn(object, 'start'),
  end: timeIn(object, 'end'),
});

/** Items of the list of a name; of the longest list where gateways leave out the name. */
function itemsOf(object: DeviceObject, name: string): readonly DeviceObject[] {
  const lists = object.children.filter(({ element }) => element === 'list');
  const named = lists.find((list) => list.name === name);
  const longest = lists.reduce<readonly DeviceObject[]>(
    (most, { children }) => (children.length > most.length ? children : most),
    [],
  );
  return named?.children ?? longest;
}

/** Gateways leave out the names: then the first time is the timestamp. */
function recordOf(object: DeviceObject): HistoryRecordFields {
  const { children } = object;
  const timestamp = child(object, 'timestamp') ?? children.find(({ element }) => element === 'abstime');
  return present<HistoryRecordFields>({
    time: timestamp?.element === 'abstime' ? timestamp.value : undefined,
    value: child(object, 'value') ?? children.find((candidate) => candidate !== timestamp),
  });
}

const rollupRecordOf = (object: DeviceObject): HistoryRollupRecordFields =>
  present<HistoryRollupRecordFields>({
    ...extentOf(object),
    min: numberIn(object, 'min'),
    max: numberIn(object, 'max'),
    avg: numberIn(object, 'avg'),
    sum: numberIn(object, 'sum'),
  });

function watchItemOf(object: DeviceObject): WatchItemFields {
  return present<WatchItemFields>({
    target: object.element === 'uri' ? (object.value ?? '') : '',
    in: child(object, 'in') ?? object.children[0],
  });
}

const isObject = ({ element }: DeviceObject): boolean => element === 'obj';
const recordsOf = (object: DeviceObject): readonly HistoryRecordFields[] =>
  Object.freeze(itemsOf(object, 'data').filter(isObject).map(recordOf));

/** A class, its contract, the element that an object of the class has, and how its fields are read. */
export interface ContractDefinition<C extends ContractClass> {
  readonly contract: string;
  readonly element: Element;
  readonly read: (object: DeviceObject) => ContractFields[C];
}

export const CONTRACTS: { readonly [C in ContractClass]: ContractDefinition<C> } = {
  watch: {
    contract: 'obix:Watch',
    element: 'obj',
    read: (object) => present({ lease: durationIn(object, 'lease'), operations: operationsOf(object) }),
  },
  watchIn: {
    contract: 'obix:WatchIn',
    element: 'obj',
    read: (object) => ({
      items: Object.freeze(
        itemsOf(object, 'hrefs')
          .filter(({ element }) => element === 'uri')
          .map(watchItemOf),
      ),
    }),
  },
  watchInItem: { contract: 'obix:WatchInItem', element: 'uri', read: watchItemOf },
  watchOut: {
    contract: 'obix:WatchOut',
    element: 'obj',
    read: (object) => ({ values: itemsOf(object, 'values') }),
  },
  history: {
    contract: 'obix:History',
    element: 'obj',
    read: (object) => {
      const tz = child(object, 'tz');
      const feed = object.children.find(({ element }) => element === 'feed');
      return present({
        ...extentOf(object),
        tz: tz?.element === 'str' ? tz.value : undefined,
        feed: feed?.href,
        operations: operationsOf(object),
      });
    },
  },
  historyFilter: { contract: 'obix:HistoryFilter', element: 'obj', read: (object) => present(filterOf(object)) },
  historyQueryOut: {
    contract: 'obix:HistoryQueryOut',
    element: 'obj',
    read: (object) => present({ ...extentOf(object), records: recordsOf(object) }),
  },
  historyRecord: { contract: 'obix:HistoryRecord', element: 'obj', read: recordOf },
  historyRollupIn: {
    contract: 'obix:HistoryRollupIn',
    element: 'obj',
    read: (object) => present({ ...filterOf(object), interval: durationIn(object, 'interval') }),
  },
  historyRollupOut: {
    contract: 'obix:HistoryRollupOut',
    element: 'obj',
    read: (object) =>
      present({
        ...extentOf(object),
        records: Object.freeze(itemsOf(object, 'data').filter(isObject).map(rollupRecordOf)),
      }),
  },
  historyRollupRecord: { contract: 'obix:HistoryRollupRecord', element: 'obj', read: rollupRecordOf },
  historyAppendIn: {
    contract: 'obix:HistoryAppendIn',
    element: 'obj',
    read: (object) => ({ records: recordsOf(object) }),
  },
  historyAppendOut: {
    contract: 'obix:HistoryAppendOut',
    element: 'obj',
    read: (object) =>
      present({
        numAdded: integerIn(object, 'numAdded'),
        newCount: integerIn(object, 'newCount'),
        newStart: timeIn(object, 'newStart'),
        newEnd: timeIn(object, 'newEnd'),
      }),
  },
  nil: { contract: 'obix:Nil', element: 'obj', read: () => ({}) },
};
export const CONTRACT_CLASSES = Object.keys(CONTRACTS) as readonly ContractClass[];
