/** The members that a companion knows, kept in memory and in step with the store. */
import type { Log } from '@cmbs/shared';
import { MEMBER_KIND, MEMBERS } from '@cmbs/shared/broker/cmbs';
import { allMembers, isLocal, socketOf } from '@cmbs/shared/broker/member';
import { ENTITIES, readEntity } from '@cmbs/shared/occi/entity-store';
import type { Entity, Path } from '@cmbs/shared/occi/model';
import type { Store, Watch } from '@cmbs/shared/store/store';

export class Members {
  readonly #store: Store;
  readonly #log: Log;
  readonly #known = new Map<Path, Entity>();
  readonly #listeners = new Set<(path: Path) => void>();
  readonly #watch: Watch;
  /** Raised with every change, so that what is derived from all members can be kept. */
  version = 0;

  private constructor(store: Store, log: Log) {
    this.#store = store;
    this.#log = log;
    this.#watch = store.watch({ collection: ENTITIES, prefix: MEMBERS }, (changes) => {
      for (const { id } of changes) void this.refresh(id);
    });
  }

  static async load(store: Store, log: Log): Promise<Members> {
    const members = new Members(store, log);
    await members.#watch.ready;
    for (const member of await allMembers(store)) members.#known.set(member.path, member);
    return members;
  }

  get(path: Path): Entity | undefined {
    return this.#known.get(path);
  }

  size(): number {
    return this.#known.size;
  }

  all(): IterableIterator<Entity> {
    return this.#known.values();
  }

  local(): readonly Entity[] {
    return [...this.#known.values()].filter(isLocal);
  }

  /** Every known L1 socket, as replies list them. */
  l1Sockets(): readonly string[] {
    return [...new Set([...this.#known.values()].flatMap((member) => socketOf(member, 'l1') ?? []))];
  }

  /** Reads one member again; for callers that must see their own write. */
  async refresh(path: Path): Promise<Entity | undefined> {
    try {
      const stored = await readEntity(this.#store, path);
      const before = this.#known.get(path);
      if (stored?.entity.kind === MEMBER_KIND) this.#known.set(path, stored.entity);
      else if (before === undefined) return undefined;
      else this.#known.delete(path);
      // Reading what is known already (one's own write, say) is no news; telling it would go round in circles.
      if (JSON.stringify(before) === JSON.stringify(this.#known.get(path))) return before;
      this.version += 1;
      for (const listener of [...this.#listeners]) listener(path);
      return this.#known.get(path);
    } catch (error) {
      // The next change of the member, or the next action on it, reads it again.
      this.#log.warn('member not read', { member: path, cause: String(error) });
      return this.#known.get(path);
    }
  }

  /** Calls `listener` after each change of a member, until the returned function is called. */
  onChange(listener: (path: Path) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  close(): void {
    this.#watch.end();
    this.#listeners.clear();
  }
}
