/**
 * What one watch knows: the documents it has been told of and which version of each, made from Firestore's messages
 * (https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#google.firestore.v1.ListenResponse).
 *
 * Of a document only its id and the time of its last write are kept, about 200 bytes: what it says is read by who is
 * told of it. Knowing them all is what makes a watch complete after its connection broke, for Firestore then says what
 * is there and not what is gone; the emulator does so after every change. Documents beyond the bound
 * (`FIRESTORE_WATCHED_DOCUMENTS`) are told of as often as Firestore names them, and when they are deleted, unless that
 * was while the connection was down.
 */
import { STATUS } from '../../grpc-status';
import { expiryOf, isExpired, timeText } from './documents';
import { idOf } from './names';
import { type Document, type ListenResponse, type TargetChange } from './protocol';

/** Documents that one watch remembers to tell which are gone after a broken connection: 20 MB. */
const FIRESTORE_WATCHED_DOCUMENTS = 100_000;

export interface Told {
  readonly id: string;
  readonly deleted: boolean;
}

export type Step =
  | { readonly kind: 'nothing' }
  /** What has been told so far holds together. */
  | { readonly kind: 'snapshot'; readonly changes: readonly Told[] }
  /** Deletions were missed: listen anew, from the start. */
  | { readonly kind: 'restart' }
  /** Firestore does not go on. */
  | { readonly kind: 'refused'; readonly code: number; readonly details: string };

const NOTHING: Step = { kind: 'nothing' };
/** Stands for the version of a document that is not there any more; as text, later than any time. */
const GONE = '~';
/** Begins the version of a document that had expired when it was told: as good as absent, but there. */
const EXPIRED = '!';

export class ListenTarget {
  /** Where to go on after a broken connection; undefined: from the start. */
  resumeToken: Uint8Array | undefined;
  readonly #now: () => number;
  readonly #bound: number;
  /** Id to the text of the time of its last write, as of the last snapshot. */
  readonly #known = new Map<string, string>();
  /** What came since: the same, or that it is gone. */
  #news = new Map<string, string>();
  /** Everything is told from the start: what is not in the news is gone. */
  #isAnew = true;
  /** All that matches has been told. */
  isCurrent = false;
  #hasSnapshot = false;
  #isOverflowing = false;

  constructor(now: () => number, bound: number = FIRESTORE_WATCHED_DOCUMENTS) {
    this.#now = now;
    this.#bound = bound;
  }

  /** A new connection begins; with a resume token it goes on where the last snapshot was. */
  reconnect(): void {
    this.#news = new Map();
    this.isCurrent = false;
    this.#isAnew = this.resumeToken === undefined;
  }

  /** There are more documents than it remembers. */
  get isOverflowing(): boolean {
    return this.#isOverflowing;
  }

  take(response: ListenResponse): Step {
    const { targetChange, documentChange, documentDelete, documentRemove, filter } = response;
    if (targetChange !== undefined) return this.#takeTarget(targetChange);
    if (documentChange !== undefined) {
      if (documentChange.targetIds.length > 0) this.#takeDocument(documentChange.document);
      else this.#news.set(idOf(documentChange.document.name), GONE);
      return NOTHING;
    }
    const gone = documentDelete ?? documentRemove;
    if (gone !== undefined) {
      this.#news.set(idOf(gone.document), GONE);
      return NOTHING;
    }
    return filter === undefined || this.#isOverflowing || filter.count === this.#size ? NOTHING : this.#restart();
  }

  #takeDocument({ name, fields, updateTime }: Document): void {
    const mark = isExpired(expiryOf(fields), this.#now()) ? EXPIRED : '';
    this.#news.set(idOf(name), mark + timeText(updateTime));
  }

  /** Documents that match, by what has been told. */
  get #size(): number {
    if (this.#isAnew) return [...this.#news.values()].filter((version) => version !== GONE).length;
    let size = this.#known.size;
    for (const [id, version] of this.#news) {
      if (version === GONE) size -= this.#known.has(id) ? 1 : 0;
      else size += this.#known.has(id) ? 0 : 1;
    }
    return size;
  }

  #restart(): Step {
    this.resumeToken = undefined;
    return { kind: 'restart' };
  }

  #takeTarget({ targetChangeType, targetIds, cause, readTime, resumeToken }: TargetChange): Step {
    switch (targetChangeType) {
      case 'ADD':
        return NOTHING;
      case 'REMOVE':
        return { kind: 'refused', code: cause?.code ?? STATUS.unknown, details: cause?.message ?? '' };
      case 'RESET':
        this.#news = new Map();
        this.#isAnew = true;
        this.isCurrent = false;
        return NOTHING;
      case 'CURRENT':
        this.isCurrent = true;
        return NOTHING;
      case 'NO_CHANGE':
        if (targetIds.length > 0 || readTime === null || !this.isCurrent) return NOTHING;
        if (resumeToken.length > 0) this.resumeToken = resumeToken;
        return { kind: 'snapshot', changes: this.#settle() };
    }
  }

  /** Makes the news known and says what of them is new; nothing the first time. */
  #settle(): readonly Told[] {
    const news = this.#news;
    if (this.#isAnew) {
      for (const id of this.#known.keys()) if (!news.has(id)) news.set(id, GONE);
    }
    const isFirst = !this.#hasSnapshot;
    this.#news = new Map();
    this.#isAnew = false;
    this.#hasSnapshot = true;
    const told: { readonly id: string; readonly version: string }[] = [];
    for (const [id, version] of news) {
      const isNew = this.#learn(id, version);
      if (isNew && !isFirst) told.push({ id, version });
    }
    // In the order of the commits, as far as Firestore tells; deletions have no time.
    told.sort((a, b) => (a.version < b.version ? -1 : 1));
    return told.map(({ id, version }) => ({ id, deleted: !isThere(version) }));
  }

  /** Whether that is new to who watches. */
  #learn(id: string, version: string): boolean {
    const before = this.#known.get(id);
    if (version === GONE) {
      this.#known.delete(id);
    } else if (before !== undefined || this.#known.size < this.#bound) {
      this.#known.set(id, version);
    } else {
      this.#isOverflowing = true;
    }
    if (isThere(version)) return version !== before;
    return before === undefined ? this.#isOverflowing : isThere(before);
  }
}

function isThere(version: string): boolean {
  return version !== GONE && !version.startsWith(EXPIRED);
}
