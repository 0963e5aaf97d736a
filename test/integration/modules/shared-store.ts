/**
 * A store that several processes use: the parent has it, and children read and commit through the channel between the
 * processes. A commit checks that the documents that the transaction read are still the same.
 */
import type { ChildProcess } from 'node:child_process';
import { CmbsError, type JsonObject } from '@cmbs/shared';
import type {
  Change,
  Doc,
  Page,
  PutOptions,
  Query,
  Store,
  Transaction,
  Watch,
  WatchScope,
} from '@cmbs/shared/store';

interface Read {
  readonly collection: string;
  readonly id: string;
  /** 0 for a document that does not exist. */
  readonly revision: number;
}

interface Write {
  readonly collection: string;
  readonly id: string;
  /** Undefined when the document is deleted. */
  readonly value?: JsonObject;
  readonly options?: PutOptions;
}

type Request = { readonly request: number } & (
  | { readonly type: 'get'; readonly collection: string; readonly id: string }
  | { readonly type: 'query'; readonly query: Query }
  | { readonly type: 'commit'; readonly reads: readonly Read[]; readonly writes: readonly Write[] }
  | { readonly type: 'watch'; readonly scope: WatchScope }
);

interface Reply {
  readonly reply: number;
  readonly value?: unknown;
  readonly error?: string;
}

/** Serves a store to a child. */
export function serveStore(child: ChildProcess, store: Store): void {
  const send = (message: object): void => {
    if (child.connected) child.send(message, () => undefined);
  };
  const answer = async (request: Request): Promise<unknown> => {
    switch (request.type) {
      case 'get':
        return store.get(request.collection, request.id);
      case 'query':
        return store.query(request.query);
      case 'commit':
        return store.transact(async (tx) => {
          for (const { collection, id, revision } of request.reads) {
            if (((await tx.get(collection, id))?.revision ?? 0) !== revision) return false;
          }
          for (const { collection, id, value, options } of request.writes) {
            if (value === undefined) tx.delete(collection, id);
            else tx.put(collection, id, value, options);
          }
          return true;
        });
      case 'watch': {
        const watch = store.watch(request.scope, (changes) => send({ changed: request.request, changes }));
        child.once('exit', () => watch.end());
        await watch.ready;
        return true;
      }
    }
  };
  child.on('message', (message: object) => {
    if (!('request' in message)) return;
    const request = message as Request;
    answer(request).then(
      (value) => send({ reply: request.request, value } satisfies Reply),
      (error: unknown) => send({ reply: request.request, error: String(error) } satisfies Reply),
    );
  });
}

/** The store of the parent, in a child. */
export function storeOfParent(): Pick<Store, 'query' | 'transact' | 'watch'> {
  let last = 0;
  const waiting = new Map<number, (reply: Reply) => void>();
  const listeners = new Map<number, (changes: readonly Change[]) => void>();
  process.on('message', (message: object) => {
    if ('reply' in message) {
      const reply = message as Reply;
      waiting.get(reply.reply)?.(reply);
      waiting.delete(reply.reply);
    }
    if ('changed' in message) {
      const { changed, changes } = message as { readonly changed: number; readonly changes: readonly Change[] };
      listeners.get(changed)?.(changes);
    }
  });
  const ask = (request: object): { readonly number: number; readonly answer: Promise<unknown> } => {
    const number = (last += 1);
    const answer = new Promise<unknown>((resolve, reject) => {
      waiting.set(number, ({ value, error }) => {
        if (error === undefined) resolve(value);
        else reject(new CmbsError('unavailable', error));
      });
    });
    process.send?.({ ...request, request: number });
    return { number, answer };
  };
  const attempt = async <T>(
    body: (tx: Transaction) => Promise<T>,
  ): Promise<{ readonly result: T } | undefined> => {
    const reads: Read[] = [];
    const writes: Write[] = [];
    const get = async (collection: string, id: string): Promise<Doc | undefined> => {
      const doc = ((await ask({ type: 'get', collection, id }).answer) ?? undefined) as Doc | undefined;
      reads.push({ collection, id, revision: doc?.revision ?? 0 });
      return doc;
    };
    const result = await body({
      get,
      getAll: (collection, ids) => Promise.all(ids.map((id) => get(collection, id))),
      query: () => {
        throw new Error('Children do not query in transactions.');
      },
      put: (collection, id, value, options) =>
        writes.push({ collection, id, value, ...(options === undefined ? {} : { options }) }),
      delete: (collection, id) => writes.push({ collection, id }),
    });
    return (await ask({ type: 'commit', reads, writes }).answer) === true ? { result } : undefined;
  };
  return {
    query: async (query) => (await ask({ type: 'query', query }).answer) as Page,
    transact: async (body) => {
      for (;;) {
        const committed = await attempt(body);
        if (committed !== undefined) return committed.result;
      }
    },
    watch: (scope, listener): Watch => {
      const { number, answer } = ask({ type: 'watch', scope });
      listeners.set(number, listener);
      return { ready: answer.then(() => undefined), end: () => listeners.delete(number) };
    },
  };
}
