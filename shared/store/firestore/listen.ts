/**
 * The state of one watch: the known documents and their versions, from Firestore's messages
 * (https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#google.firestore.v1.ListenResponse).
 *
 * For each document the id and the time of its last write are kept, about 200 bytes. They make the watch complete after
 * its connection broke: Firestore then lists the existing documents and not the deleted ones, and the emulator does so
 * after every change (`test/unit/firestore-listen.test.ts`). Changes of documents beyond `FIRESTORE_WATCHED_DOCUMENTS`
 * may be reported repeatedly, and deletions of them while the connection was down are missed.
 */
import { STATUS } from '../../grpc-status';
import { expiryOf, isExpired, timeText } from './documents';
import { idOf } from './names';
import { type Document, type ListenResponse, type TargetChange } from './protocol';

/** Documents that one watch remembers, to find deletions after a broken connection: 20 MB. */
const FIRESTORE_WATCHED_DOCUMENTS = 100_000;

export interface ReportedChange {
  readonly id: string;
  readonly deleted: boolean;
}

export type Step =
  | { readonly kind: 'nothing' }
  /** The messages so far are consistent: these changes are to be reported. */
  | { readonly kind: 'snapshot'; readonly changes: readonly ReportedChange[] }
  /** Deletions were missed: listen again from the start. */
  | { readonly kind: 'restart' }
  /** Firestore ended the watch. */
  | { readonly kind: 'refused'; readonly code: number; readonly details: string };

const NOTHING: Step = { kind: 'nothing' };
/** The version of a deleted document; as text it sorts after every time. */
const GONE = '~';
/** Prefix of the version of an expired document, which counts as absent although Firestore still has it. */
const EXPIRED = '!';

export class ListenTarget {
  /** Where Firestore continues after a broken connection; undefined: from the start. */
  resumeToken: Uint8Array | undefined;
  readonly #now: () => number;
  readonly #maxKnown: number;
  /** Id to version (the time of its last write), as of the last snapshot. */
  readonly #known = new Map<string, string>();
  /** Id to version, since the last snapshot. */
  #changed = new Map<string, string>();
  /** Firestore lists all documents from the start: others are deleted. */
  #isAnew = true;
  /** Firestore has listed all documents. */
  isCurrent = false;
  #hasSnapshot = false;
  #isOverflowing = false;

  constructor(now: () => number, maxKnown: number = FIRESTORE_WATCHED_DOCUMENTS) {
    this.#now = now;
    this.#maxKnown = maxKnown;
  }

  /** To be called for a new connection, which continues after the last snapshot when there is a resume token. */
  reconnect(): void {
    this.#changed = new Map();
    this.isCurrent = false;
    this.#isAnew = this.resumeToken === undefined;
  }

  /** There are more documents than the watch remembers. */
  get isOverflowing(): boolean {
    return this.#isOverflowing;
  }

  take(response: ListenResponse): Step {
    const { targetChange, documentChange, documentDelete, documentRemove, filter } = response;
    if (targetChange !== undefined) return this.#takeTarget(targetChange);
    if (documentChange !== undefined) {
      if (documentChange.targetIds.length > 0) this.#takeDocument(documentChange.document);
      else this.#changed.set(idOf(documentChange.document.name), GONE);
      return NOTHING;
    }
    const gone = documentDelete ?? documentRemove;
    if (gone !== undefined) {
      this.#changed.set(idOf(gone.document), GONE);
      return NOTHING;
    }
    return filter === undefined || this.#isOverflowing || filter.count === this.#size ? NOTHING : this.#restart();
  }

  #takeDocument({ name, fields, updateTime }: Document): void {
    const mark = isExpired(expiryOf(fields), this.#now()) ? EXPIRED : '';
    this.#changed.set(idOf(name), mark + timeText(updateTime));
  }

  /** Number of matching documents, as far as known. */
  get #size(): number {
    if (this.#isAnew) return [...this.#changed.values()].filter((version) => version !== GONE).length;
    let size = this.#known.size;
    for (const [id, version] of this.#changed) {
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
        this.#changed = new Map();
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

  /** Takes the changes over as known; returns those to report, which are none the first time. */
  #settle(): readonly ReportedChange[] {
    const changed = this.#changed;
    if (this.#isAnew) {
      for (const id of this.#known.keys()) if (!changed.has(id)) changed.set(id, GONE);
    }
    const isFirst = !this.#hasSnapshot;
    this.#changed = new Map();
    this.#isAnew = false;
    this.#hasSnapshot = true;
    const reported: { readonly id: string; readonly version: string }[] = [];
    for (const [id, version] of changed) {
      const isNew = this.#remember(id, version);
      if (isNew && !isFirst) reported.push({ id, version });
    }
    // In the order of the commits; for deletions Firestore gives no time.
    reported.sort((a, b) => (a.version < b.version ? -1 : 1));
    return reported.map(({ id, version }) => ({ id, deleted: !exists(version) }));
  }

  /** True when the change is to be reported. */
  #remember(id: string, version: string): boolean {
    const before = this.#known.get(id);
    if (version === GONE) {
      this.#known.delete(id);
    } else if (before !== undefined || this.#known.size < this.#maxKnown) {
      this.#known.set(id, version);
    } else {
      this.#isOverflowing = true;
    }
    if (exists(version)) return version !== before;
    return before === undefined ? this.#isOverflowing : exists(before);
  }
}

function exists(version: string): boolean {
  return version !== GONE && !version.startsWith(EXPIRED);
}
