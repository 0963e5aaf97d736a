/**
 * Reads that all see the database at one moment, that of the first read. They take no locks and wait for none
 * (`test/cloud/store-firestore.test.ts`, "reads all of a transaction at one moment").
 */
import { type Deadline } from './deadline';
import { type Context, repeated } from './context';
import { toStored, type Stored } from './documents';
import { type Consistency, type Document, type StructuredQuery, type Timestamp } from './protocol';

/** Documents read by id in one call. */
const FIRESTORE_GET_BATCH = 1000;

const COUNTED = 'n';

export class ReadSnapshot {
  readonly context: Context;
  /** `projects/…/databases/…` */
  readonly database: string;
  readonly deadline: Deadline;
  /** Set when the first read has begun. */
  #moment: Promise<Timestamp> | undefined;

  constructor(context: Context, database: string, deadline: Deadline) {
    this.context = context;
    this.database = database;
    this.deadline = deadline;
  }

  static async open(context: Context, deadline: Deadline): Promise<ReadSnapshot> {
    return new ReadSnapshot(context, await context.connection.database(deadline), deadline);
  }

  /** The documents that exist, by path. */
  async getAll(paths: readonly string[], fields?: readonly string[]): Promise<ReadonlyMap<string, Stored>> {
    const found = new Map<string, Stored>();
    const wanted = [...new Set(paths)];
    for (let at = 0; at < wanted.length; at += FIRESTORE_GET_BATCH) {
      const batch = wanted.slice(at, at + FIRESTORE_GET_BATCH);
      await repeated(this.context, this.deadline, () => this.#getBatch(batch, fields, found));
    }
    return found;
  }

  async #getBatch(
    paths: readonly string[],
    fields: readonly string[] | undefined,
    found: Map<string, Stored>,
  ): Promise<void> {
    const root = documentsOf(this.database);
    const responses = this.#atMoment((consistency) =>
      this.context.connection.stream(
        'batchGetDocuments',
        {
          database: this.database,
          documents: paths.map((path) => `${root}/${path}`),
          ...(fields === undefined ? {} : { mask: { fieldPaths: fields } }),
          ...consistency,
        },
        this.deadline,
      ),
    );
    for await (const { found: document } of responses) {
      if (document !== undefined) found.set(document.name.slice(root.length + 1), toStored(document));
    }
  }

  /** Yields documents under `parent` (a path, or empty) as they arrive. Does not retry; to stop reading ends the call. */
  async *query(parent: string, structuredQuery: StructuredQuery): AsyncGenerator<Document, void, undefined> {
    const responses = this.#atMoment((consistency) =>
      this.context.connection.stream(
        'runQuery',
        { parent: parentOf(this.database, parent), structuredQuery, ...consistency },
        this.deadline,
      ),
    );
    for await (const { document } of responses) {
      if (document !== null) yield document;
    }
  }

  /** Number of documents that a query finds, counted by Firestore up to `upTo`. */
  async count(parent: string, structuredQuery: StructuredQuery, upTo: number): Promise<number> {
    const count = { upTo: { value: String(upTo) } };
    return repeated(this.context, this.deadline, async () => {
      const responses = this.#atMoment((consistency) =>
        this.context.connection.stream(
          'runAggregationQuery',
          {
            parent: parentOf(this.database, parent),
            structuredAggregationQuery: { structuredQuery, aggregations: [{ alias: COUNTED, count }] },
            ...consistency,
          },
          this.deadline,
        ),
      );
      let counted = 0;
      for await (const { result } of responses) {
        counted = Number(result?.aggregateFields[COUNTED]?.integerValue ?? counted);
      }
      return counted;
    });
  }

  /** The first read tells the moment; reads that begin in the meantime wait for it. */
  async *#atMoment<R extends { readonly readTime: Timestamp | null }>(
    call: (consistency: Consistency) => AsyncGenerator<R, void, undefined>,
  ): AsyncGenerator<R, void, undefined> {
    if (this.#moment !== undefined) {
      yield* call({ readTime: await this.#moment });
      return;
    }
    let known: (time: Timestamp) => void = () => undefined;
    let failed: (error: unknown) => void = () => undefined;
    this.#moment = new Promise((resolve, reject) => {
      known = resolve;
      failed = reject;
    });
    this.#moment.catch(() => undefined); // Other reads may not wait for it.
    let isKnown = false;
    try {
      for await (const response of call({})) {
        if (!isKnown && response.readTime !== null) {
          isKnown = true;
          known(response.readTime);
        }
        yield response;
      }
    } catch (error) {
      if (!isKnown) {
        this.#moment = undefined;
        failed(error);
      }
      throw error;
    }
  }
}

export function documentsOf(database: string): string {
  return `${database}/documents`;
}

export function parentOf(database: string, parent: string): string {
  return parent === '' ? documentsOf(database) : `${documentsOf(database)}/${parent}`;
}
