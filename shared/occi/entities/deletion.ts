/** Deletes entities, and the links of each deleted resource (GFD.223 §10.4, §11.4.1). */
import { concurrently } from '../../concurrently';
import { toCmbsError } from '../../errors';
import type { Principal } from '../../principal';
import type { Transaction } from '../../store';
import { requireWanted } from '../../waiting';
import type { CategorySnapshot } from '../categories/snapshot';
import { deleteEntity, readEntities, readEntity, writeEntity, type StoredEntity } from '../entity-store';
import type { CategoryRegistry } from '../category-registry';
import { residualTest, type Filter } from '../filter';
import { earlierAnswer, once } from '../idempotency';
import { MAX_BATCH_ENTITIES } from '../limits';
import { CORE_SOURCE, type Entity, type Path } from '../model';
import { inSteps, type Progress } from '../steps';
import type { WriteOptions } from './commands';
import {
  authorizeEach,
  nothingAt,
  resourceOf,
  type EntityContext,
  type Precondition,
  type Requester,
} from './context';
import { DeletionProgress, type DeletionRequest } from './deletion-progress';
import { endOf, linksAtEnds } from './links';
import { collectionResource, scopeAt, type EntityListing } from './listing';
import type { EntityReading } from './reading';

/** Simultaneous queries for the links of entities that are deleted together. */
const LINK_QUERY_CONCURRENCY = 16;

/** A requester whose call can be aborted. */
export type Deleter = Pick<Requester, 'principal'> & { readonly signal: AbortSignal };

export interface BulkDeletion {
  /** Path of the collection. */
  readonly collection: Path;
  readonly filter: Filter;
  /** Absent: every entity that the filter selects. */
  readonly only?: readonly Path[] | undefined;
}

export class EntityDeletion {
  readonly #context: EntityContext;
  readonly #reading: EntityReading;
  readonly #listing: EntityListing;

  constructor(context: EntityContext, reading: EntityReading, listing: EntityListing) {
    this.#context = context;
    this.#reading = reading;
    this.#listing = listing;
  }

  async delete(
    path: Path,
    { principal, signal }: Deleter,
    { expect, idempotent }: WriteOptions = {},
  ): Promise<void> {
    const { store, clock, authorize } = this.#context;
    if (idempotent !== undefined && (await earlierAnswer(store, idempotent)) !== undefined) return;
    const snapshot = await this.#context.categories.current();
    const { entity } = await this.#reading.requireFor(path, principal, 'entity.delete');
    const provider = snapshot.providerOf(entity.kind);
    if (provider?.releasing !== undefined) {
      await authorize(principal, 'entity.delete', resourceOf(entity));
      if (expect !== undefined) await this.#markLeaving(path, expect, snapshot);
      await provider.releasing(entity, signal);
    }
    await store.transact((tx) =>
      once(tx, idempotent, clock.now(), async () => {
        const current = await readEntity(tx, path);
        if (current === undefined) throw nothingAt(path);
        await authorize(principal, 'entity.delete', resourceOf(current.entity));
        if (current.entity.isLeaving !== true) expect?.(current);
        await this.#remove(tx, [current.entity], snapshot);
        return {};
      }),
    );
    await provider?.removed?.(entity);
  }

  async deleteAll({ collection, filter, only }: BulkDeletion, deleter: Deleter): Promise<Progress> {
    const { clock, categories } = this.#context;
    const { registry } = await categories.current();
    const scope = scopeAt(collection, registry);
    const { signal, principal } = deleter;
    // Each entity is decided too; without this decision, nobody could ask what a collection has.
    await this.#context.authorize(principal, 'entity.list', collectionResource(collection, registry));
    const number = this.#context.deletionStep ?? MAX_BATCH_ENTITIES;
    if (only !== undefined) {
      const paths = [...new Set(only)];
      return inSteps(clock, signal, async () => {
        const leaving = await this.#listing.named(scope, deleter.principal, {
          paths: paths.splice(0, number),
          filter,
          signal,
        });
        return { done: await this.#deleteSome(leaving, deleter), isLast: paths.length === 0 };
      });
    }
    const progress = this.#progress({ principal: deleter.principal, collection, filter }, registry);
    let cursor = await progress?.read();
    let refusal: unknown;
    const made = await inSteps(clock, signal, async () => {
      const page = await this.#listing.page({
        scope,
        principal: deleter.principal,
        filter,
        number,
        need: 'attributes',
        signal,
        ...(cursor === undefined ? {} : { cursor }),
      });
      const deletable = await this.#deletable(page.entities, principal, (thrown) => (refusal ??= thrown));
      const done = await this.#deleteSome(deletable, deleter);
      cursor = page.next;
      await progress?.write(cursor);
      return { done, isLast: cursor === undefined, refused: page.entities.length - deletable.length };
    });
    if (made.done === 0 && refusal !== undefined) throw refusal as Error;
    return made;
  }

  #progress(request: DeletionRequest, registry: CategoryRegistry): DeletionProgress | undefined {
    const { store, clock } = this.#context;
    return residualTest(request.filter, registry) === undefined
      ? undefined
      : new DeletionProgress(store, clock, request);
  }

  /** Without the entities of others that the principal may see and not delete: they stay. */
  async #deletable(
    found: readonly StoredEntity[],
    principal: Principal,
    onRefusal: (thrown: unknown) => void,
  ): Promise<readonly StoredEntity[]> {
    const { authorize } = this.#context;
    const deletable: StoredEntity[] = [];
    for (const stored of found) {
      try {
        await authorize(principal, 'entity.delete', resourceOf(stored.entity));
        deletable.push(stored);
      } catch (thrown) {
        const { code } = toCmbsError(thrown);
        if (code !== 'forbidden' && code !== 'not_found') throw thrown;
        onRefusal(thrown);
      }
    }
    return deletable;
  }

  async #deleteSome(leaving: readonly StoredEntity[], { principal, signal }: Deleter): Promise<number> {
    if (leaving.length === 0) return 0;
    const { store, categories, authorize } = this.#context;
    const snapshot = await categories.current();
    const entities = leaving.map(({ entity }) => entity);
    // A release cannot be undone, so all decisions precede it.
    await authorizeEach(authorize, principal, 'entity.delete', entities);
    for (const entity of entities) {
      requireWanted(signal);
      await snapshot.providerOf(entity.kind)?.releasing?.(entity, signal);
    }
    requireWanted(signal);
    const deleted = await store.transact(async (tx) => {
      const paths = entities.map(({ path }) => path);
      const current = [...(await readEntities(tx, paths)).values()].map(({ entity }) => entity);
      // Since the page was read, an entity may have changed, or another may have been created at its path.
      await authorizeEach(authorize, principal, 'entity.delete', current);
      await this.#remove(tx, current, snapshot);
      return current;
    });
    for (const entity of deleted) await snapshot.providerOf(entity.kind)?.removed?.(entity);
    return deleted.length;
  }

  /**
   * Checks the condition before the provider releases the entity, which cannot be undone. From then on the entity refuses
   * changes.
   */
  async #markLeaving(path: Path, expect: Precondition, { registry }: CategorySnapshot): Promise<void> {
    await this.#context.store.transact(async (tx) => {
      const current = await readEntity(tx, path);
      if (current === undefined) throw nothingAt(path);
      // A deletion that was interrupted continues: its condition was met.
      if (current.entity.isLeaving === true) return;
      expect(current);
      writeEntity(tx, { ...current.entity, isLeaving: true }, current.entity, registry);
    });
  }

  /** Links are deleted with their resources, without a decision of their own: a link cannot exist without its ends. */
  async #remove(tx: Transaction, leaving: readonly Entity[], snapshot: CategorySnapshot): Promise<void> {
    const { registry } = snapshot;
    const all = new Map(leaving.map((entity) => [entity.path, entity]));
    const sources = new Set<Path>();
    await concurrently(leaving, LINK_QUERY_CONCURRENCY, async (entity) => {
      const links = registry.isLink(entity.kind) ? [entity] : await linksAtEnds(tx, entity);
      for (const link of links) {
        all.set(link.path, link);
        const source = endOf(link, CORE_SOURCE);
        if (source.startsWith('/')) sources.add(source);
      }
    });
    const remaining = [...sources].filter((path) => !all.has(path));
    const touched = await readEntities(tx, remaining);
    const writes: (() => void)[] = [];
    for (const entity of all.values()) {
      const write = await snapshot.providerOf(entity.kind)?.removing?.(tx, entity);
      if (write !== undefined) writes.push(write);
    }
    for (const write of writes) write();
    for (const entity of all.values()) deleteEntity(tx, entity);
    for (const { entity } of touched.values()) writeEntity(tx, entity, entity, registry);
  }
}
