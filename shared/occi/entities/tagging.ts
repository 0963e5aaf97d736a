/** Adds mixins to entities and removes them, through the collection of the mixin (GFD.223 §11.2, §11.3.2, §11.4.2). */
import { CmbsError } from '../../errors';
import { MAX_PAGE_OFFSET } from '../../limits';
import type { Authorize, Principal } from '../../principal';
import type { Transaction } from '../../store';
import { without } from '../categories/changes';
import type { CategorySnapshot } from '../categories/snapshot';
import { entitiesOf, nextOfCategory, ofCategory, readEntities, writeEntity } from '../entity-store';
import { once, type IdempotentRequest } from '../idempotency';
import { MAX_BATCH_ENTITIES } from '../limits';
import { categoryId, type CategoryId, type Entity, type Mixin, type Path } from '../model';
import type { Completion } from '../provider';
import type { CategoryRegistry } from '../category-registry';
import { inSteps, type Progress, type Step } from '../steps';
import { completed, concluded, refuseLeaving } from './completing';
import { authorizeEach, nothingAt, type EntityContext, type Requester } from './context';
import type { Deleter } from './deletion';
import { checkMixins, plainAttributes } from './drafting';
import { sourcesOf } from './links';

/** `replace`: afterwards the named entities have the mixin, and no others. */
export type Tagging = 'add' | 'remove' | 'replace';

interface TagChange {
  readonly before: Entity;
  readonly next: Entity;
}

export class EntityTagging {
  readonly #context: EntityContext;

  constructor(context: EntityContext) {
    this.#context = context;
  }

  async tag(
    mixin: Mixin,
    paths: readonly Path[],
    how: Tagging,
    requester: Pick<Requester, 'principal'>,
    idempotent?: IdempotentRequest,
  ): Promise<void> {
    if (paths.length > MAX_BATCH_ENTITIES) {
      throw new CmbsError(
        'too_large',
        `One request tags ${MAX_BATCH_ENTITIES} entities at most; send several requests.`,
      );
    }
    const { store, clock, categories, authorize } = this.#context;
    const snapshot = await categories.current();
    const { registry } = snapshot;
    const id = categoryId(mixin);
    const { principal } = requester;
    if (how !== 'remove') await authorize(principal, 'entity.tag', { path: id });
    if (how !== 'add') await authorize(principal, 'entity.untag', { path: id });
    let completions: readonly Completion[] = [];
    await store.transact((tx) => {
      completions = [];
      return once(tx, idempotent, clock.now(), async () => {
        if (how !== 'remove') await categories.requireStill(tx, [id], snapshot);
        const stored = await readEntities(tx, paths);
        const named = [...stored.values()].map(({ entity }) => entity);
        const others = how === 'replace' ? await taggedOutside(tx, id, new Set(paths)) : [];
        const gaining = how === 'remove' ? [] : named;
        const losing = how === 'remove' ? named : others;
        // In the order of the request, so that an entity that the caller may not read is refused as an absent one is.
        for (const path of paths) {
          const entity = stored.get(path)?.entity;
          if (entity === undefined) throw nothingAt(path);
          await authorizeEach(authorize, principal, how === 'remove' ? 'entity.untag' : 'entity.tag', [entity]);
        }
        if (how !== 'remove') await authorizeFound(authorize, principal, others);
        const changes = [
          ...losing.map((before) => ({ before, next: without(before, id, registry) })),
          ...gaining
            .filter(({ mixins }) => !mixins.includes(id))
            .map((before) => ({ before, next: withMixin(before, id, registry) })),
        ];
        completions = await this.#write(tx, changes, snapshot, principal);
        return {};
      });
    });
    await concluded(completions, {});
  }

  async untagAll(mixin: Mixin, { principal, signal }: Deleter): Promise<Progress> {
    const { store, clock, categories, authorize } = this.#context;
    const snapshot = await categories.current();
    await authorize(principal, 'entity.untag', { path: categoryId(mixin) });
    return inSteps(clock, signal, async () => {
      let completions: readonly Completion[] = [];
      const step = await store.transact(async (tx): Promise<Step> => {
        const id = categoryId(mixin);
        const { entities: tagged, next } = await nextOfCategory(tx, id);
        await authorizeFound(authorize, principal, tagged);
        const changes = tagged.map((before) => ({ before, next: without(before, id, snapshot.registry) }));
        completions = await this.#write(tx, changes, snapshot, principal);
        return { done: tagged.length, isLast: next === undefined };
      });
      await concluded(completions, { signal });
      return step;
    });
  }

  /** Writes entities as their providers complete them, after the last reads of the transaction. */
  async #write(
    tx: Transaction,
    changes: readonly TagChange[],
    snapshot: CategorySnapshot,
    principal: Principal,
  ): Promise<readonly Completion[]> {
    const { registry } = snapshot;
    const links = changes.map(({ before }) => before).filter(({ kind }) => registry.isLink(kind));
    const changed = new Set(changes.map(({ before }) => before.path));
    const sources = await sourcesOf(tx, links);
    const prepared = changes.map(({ before, next }) => {
      refuseLeaving(before);
      const updated = { ...next, updatedAt: this.#context.clock.now() };
      return { before, next: snapshot.providerOf(before.kind)?.prepare?.(updated, before) ?? updated };
    });
    const { entities, completions } = await completed(tx, prepared, snapshot, { principal });
    for (const source of sources) if (!changed.has(source.path)) writeEntity(tx, source, source, registry);
    for (const { before, next } of prepared) writeEntity(tx, entities.get(next.path) ?? next, before, registry);
    for (const { write } of completions) write?.();
    return completions;
  }
}

/**
 * Asks whether the principal may untag entities that the request did not name.
 * @throws CmbsError `forbidden` without a path, which the principal may not know of
 */
async function authorizeFound(
  authorize: Authorize,
  principal: Principal,
  entities: readonly Entity[],
): Promise<void> {
  try {
    await authorizeEach(authorize, principal, 'entity.untag', entities);
  } catch (error) {
    if (!(error instanceof CmbsError) || error.code !== 'not_found') throw error;
    throw new CmbsError('forbidden', 'Other entities have this mixin too; name those that are to lose it.');
  }
}

function withMixin(before: Entity, id: CategoryId, registry: CategoryRegistry): Entity {
  const mixins = checkMixins(before.kind, [...before.mixins, id], registry);
  const specs = registry.specs(before.kind, mixins);
  const attributes = plainAttributes({}, specs, { before: before.attributes, partial: true });
  return { ...before, mixins, attributes };
}

/** Entities that have the mixin, except those at the paths. */
async function taggedOutside(
  tx: Transaction,
  mixin: CategoryId,
  paths: ReadonlySet<Path>,
): Promise<readonly Entity[]> {
  const page = await tx.query({ ...ofCategory(mixin), limit: MAX_PAGE_OFFSET });
  if (page.next !== undefined) {
    throw new CmbsError(
      'too_large',
      `More than ${MAX_PAGE_OFFSET} entities have this mixin; remove it from some of them first.`,
    );
  }
  const tagged = (await entitiesOf(tx, page.docs)).map(({ entity }) => entity);
  return tagged.filter(({ path }) => !paths.has(path));
}
