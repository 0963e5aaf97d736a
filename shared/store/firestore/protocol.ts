/**
 * The part of Firestore's API that the engine uses, in the types of the gRPC stub
 * (https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1). Of a `oneof` only the field that is set is
 * present; 64-bit integers are decimal text.
 */

/** Precise to the microsecond. */
export interface Timestamp {
  readonly seconds: string;
  readonly nanos: number;
}

export interface Value {
  readonly nullValue?: 'NULL_VALUE';
  readonly booleanValue?: boolean;
  readonly integerValue?: string;
  readonly stringValue?: string;
  readonly timestampValue?: Timestamp;
  /** Full name of a document. */
  readonly referenceValue?: string;
  readonly mapValue?: { readonly fields: Fields };
}

export type Fields = Readonly<Record<string, Value>>;

export interface Document {
  /** `projects/…/databases/…/documents/…` */
  readonly name: string;
  readonly fields: Fields;
  readonly updateTime: Timestamp;
}

// --- Writing ---

/** A condition for the write of a document, and with it for all writes of the commit. */
export type Precondition = { readonly exists: boolean } | { readonly updateTime: Timestamp };

export type Write = (
  { readonly update: { readonly name: string; readonly fields: Fields } } | { readonly delete: string }
) & { readonly currentDocument?: Precondition };

export interface CommitRequest {
  readonly database: string;
  readonly writes: readonly Write[];
  readonly transaction?: Uint8Array;
}

export interface BatchWriteRequest {
  readonly database: string;
  readonly writes: readonly Write[];
}

export interface BatchWriteResponse {
  /** One status for each write; `code` 0 for success. */
  readonly status: readonly { readonly code: number; readonly message: string }[];
}

// --- Reading ---

/** The moment or the transaction of a read; without either, the latest state. */
export interface Consistency {
  readonly readTime?: Timestamp;
  readonly transaction?: Uint8Array;
  readonly newTransaction?: { readonly readWrite: Readonly<Record<string, never>> };
}

/** In the first response after `newTransaction`; empty otherwise. */
interface Begun {
  readonly transaction: Uint8Array;
}

export interface BatchGetRequest extends Consistency {
  readonly database: string;
  readonly documents: readonly string[];
  readonly mask?: { readonly fieldPaths: readonly string[] };
}

export interface BatchGetResponse extends Begun {
  readonly found?: Document;
  readonly missing?: string;
  /** Null in a response that only has the transaction. */
  readonly readTime: Timestamp | null;
}

export interface FieldFilter {
  readonly fieldFilter: {
    readonly field: { readonly fieldPath: string };
    readonly op: 'EQUAL' | 'LESS_THAN' | 'LESS_THAN_OR_EQUAL' | 'GREATER_THAN' | 'GREATER_THAN_OR_EQUAL';
    readonly value: Value;
  };
}

export interface UnaryFilter {
  readonly unaryFilter: { readonly op: 'IS_NULL'; readonly field: { readonly fieldPath: string } };
}

export type Filter =
  | FieldFilter
  | UnaryFilter
  | { readonly compositeFilter: { readonly op: 'AND'; readonly filters: readonly (FieldFilter | UnaryFilter)[] } };

export interface StructuredQuery {
  readonly select?: { readonly fields: readonly { readonly fieldPath: string }[] };
  readonly from: readonly { readonly collectionId: string; readonly allDescendants?: boolean }[];
  readonly where?: Filter;
  readonly orderBy?: readonly {
    readonly field: { readonly fieldPath: string };
    readonly direction: 'ASCENDING' | 'DESCENDING';
  }[];
  /** `before: false`: after the position. */
  readonly startAt?: { readonly values: readonly Value[]; readonly before: boolean };
  readonly limit?: { readonly value: number };
}

export interface RunQueryRequest extends Consistency {
  readonly parent: string;
  readonly structuredQuery: StructuredQuery;
}

export interface RunQueryResponse extends Begun {
  /** Null in a response that only has the transaction or the time. */
  readonly document: Document | null;
  readonly readTime: Timestamp | null;
}

export interface RunAggregationQueryRequest extends Consistency {
  readonly parent: string;
  readonly structuredAggregationQuery: {
    readonly structuredQuery: StructuredQuery;
    readonly aggregations: readonly {
      readonly alias: string;
      readonly count: { readonly upTo: { readonly value: string } };
    }[];
  };
}

export interface RunAggregationQueryResponse extends Begun {
  readonly result: { readonly aggregateFields: Fields } | null;
  readonly readTime: Timestamp | null;
}

export interface ListCollectionIdsRequest {
  readonly parent: string;
  readonly pageSize: number;
}

export interface ListCollectionIdsResponse {
  readonly collectionIds: readonly string[];
}

// --- Watching ---

export interface ListenRequest {
  readonly database: string;
  readonly addTarget: {
    readonly query: { readonly parent: string; readonly structuredQuery: StructuredQuery };
    readonly targetId: number;
    readonly resumeToken?: Uint8Array;
  };
}

export interface TargetChange {
  /**
   * `CURRENT`: all documents were listed. `RESET`: they will be listed again. `NO_CHANGE` without target ids: the
   * changes since the last one are consistent.
   */
  readonly targetChangeType: 'NO_CHANGE' | 'ADD' | 'REMOVE' | 'CURRENT' | 'RESET';
  readonly targetIds: readonly number[];
  readonly cause: { readonly code: number; readonly message: string } | null;
  readonly resumeToken: Uint8Array;
  readonly readTime: Timestamp | null;
}

export interface ListenResponse {
  readonly targetChange?: TargetChange;
  readonly documentChange?: {
    readonly document: Document;
    readonly targetIds: readonly number[];
    readonly removedTargetIds: readonly number[];
  };
  /** The document was deleted. */
  readonly documentDelete?: { readonly document: string };
  /** The document no longer matches. */
  readonly documentRemove?: { readonly document: string };
  /** Number of matching documents; when the listener knows another number, it missed deletions. */
  readonly filter?: { readonly count: number };
}

// --- Methods ---

/** One request, one response. */
export interface UnaryMethods {
  readonly commit: { readonly request: CommitRequest; readonly response: unknown };
  readonly rollback: {
    readonly request: { readonly database: string; readonly transaction: Uint8Array };
    readonly response: unknown;
  };
  readonly batchWrite: { readonly request: BatchWriteRequest; readonly response: BatchWriteResponse };
  readonly listCollectionIds: {
    readonly request: ListCollectionIdsRequest;
    readonly response: ListCollectionIdsResponse;
  };
}

/** One request, a stream of responses. */
export interface StreamMethods {
  readonly batchGetDocuments: { readonly request: BatchGetRequest; readonly response: BatchGetResponse };
  readonly runQuery: { readonly request: RunQueryRequest; readonly response: RunQueryResponse };
  readonly runAggregationQuery: {
    readonly request: RunAggregationQueryRequest;
    readonly response: RunAggregationQueryResponse;
  };
}
