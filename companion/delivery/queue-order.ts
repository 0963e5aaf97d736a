/** Reads the outbound messages of a shard in the order in which they were queued: merges the parts of the shard. */
import {
  OUTBOUND_MESSAGES,
  type OutboundMessage,
  outboundMessageOf,
  PART_FIELD,
  partsOf,
} from '@cmbs/shared/broker';
import type { Doc, Page, Store } from '@cmbs/shared/store';
import { MAX_READ_CHARS } from '../limits';

/** A part of the shard's messages, read up to some place. */
interface Head {
  readonly part: string;
  /** What was read and not given yet, the next message last. */
  docs: Doc[];
  next: string | undefined;
}

type Reader = Pick<Store, 'query'>;

function pageOf(store: Reader, part: string, limit: number, after: string | undefined): Promise<Page> {
  return store.query({
    collection: OUTBOUND_MESSAGES,
    where: [{ field: PART_FIELD, value: part }],
    by: 'order',
    limit,
    maxChars: MAX_READ_CHARS / partsOf('').length,
    ...(after === undefined ? {} : { after }),
  });
}

/** @param page messages of one part that are read at once */
export async function* inQueueOrder(
  store: Reader,
  shard: string,
  page: number,
): AsyncGenerator<OutboundMessage, void, undefined> {
  const read = async (part: string, after?: string): Promise<Head> => {
    const { docs, next } = await pageOf(store, part, page, after);
    return { part, docs: [...docs].reverse(), next };
  };
  let heads = await Promise.all(partsOf(shard).map((part) => read(part)));
  for (;;) {
    while (heads.every(({ docs, next }) => docs.length > 0 || next === undefined)) {
      const earliest = heads.reduce((one, other) => (orderOfHead(other) < orderOfHead(one) ? other : one));
      const doc = earliest.docs.pop();
      if (doc === undefined) return;
      yield outboundMessageOf(doc);
    }
    heads = await Promise.all(
      heads.map(async (head) => {
        const { part, docs, next } = head;
        return docs.length > 0 || next === undefined ? head : read(part, next);
      }),
    );
  }
}

/** After every order, when the part has no more. */
const NO_MORE = '\u{10ffff}';
const orderOfHead = ({ docs }: Head): string => docs.at(-1)?.order ?? NO_MORE;
