/**
 * Whether the store's index finds every member by its topics. Release 1.0 stored members without those entries; the
 * companion writes such members again (`companion/index-renewal.ts`), and records when none is left. Until then, a lookup
 * by topic reads all members. When 1.0 still runs beside this release and stores a member, the companion deletes the
 * record; until the companion has seen the member (a remote one, or one of several shards, at its next look), and for
 * {@link RELIED_ON_MS} more, lookups miss it.
 */
import type { Clock } from '../clock';
import { INDEX_VERSION, type CategoryRegistry, type Path, readEntity, writeEntity } from '../occi';
import type { Store } from '../store';
import { readDesiredAgain } from './desired';
import { isLocal } from './member';
import { inGroup } from './member-groups';
import { type MoveContext, putMove } from './member-moves';

const META = 'meta';
const TOPIC_INDEX = 'topic-index';

/** Milliseconds for which a process relies on what it read: the record is deleted when 1.0 has stored a member. */
const RELIED_ON_MS = 10_000;

/** Until when the index of a store counts as complete, in this process. */
const completeUntil = new WeakMap<object, number>();

/** Costs a read every {@link RELIED_ON_MS} milliseconds; as long as the answer is no, a read each time. */
export async function isTopicIndexComplete(
  store: Pick<Store, 'get'>,
  clock: Pick<Clock, 'now'>,
): Promise<boolean> {
  const now = clock.now();
  if ((completeUntil.get(store) ?? 0) > now) return true;
  const version = (await store.get(META, TOPIC_INDEX))?.value.version;
  if (typeof version !== 'number' || version < INDEX_VERSION) return false;
  completeUntil.set(store, now + RELIED_ON_MS);
  return true;
}

/** Records whether every stored member has the index entries of this release. */
export async function recordTopicIndex(store: Store, is: 'complete' | 'incomplete'): Promise<void> {
  completeUntil.delete(store);
  await store.transact(async (tx) => {
    const known = (await tx.get(META, TOPIC_INDEX))?.value.version;
    if (is === 'incomplete') {
      if (known !== undefined) tx.delete(META, TOPIC_INDEX);
    } else if (known !== INDEX_VERSION) tx.put(META, TOPIC_INDEX, { version: INDEX_VERSION });
  });
}

/**
 * Writes a member again that has not the index entries of this release, or is in the wrong group.
 * @param cameFrom the shard that the member is known to have left
 */
export async function renewIndex(
  { store, ...context }: MoveContext & { readonly store: Pick<Store, 'transact'> },
  path: Path,
  registry: CategoryRegistry,
  cameFrom?: string,
): Promise<void> {
  await store.transact(async (tx) => {
    const stored = await readEntity(tx, path);
    if (stored === undefined) return;
    const { entity: before } = stored;
    const member = inGroup(before, context.shardOf);
    if (stored.hasOldIndex !== true && member.group === before.group) return;
    const writeDesired = isLocal(member) ? await readDesiredAgain(tx, member, context) : () => undefined;
    writeEntity(tx, member, before, registry);
    writeDesired();
    putMove(tx, before, member, context, cameFrom ?? before.group);
  });
}
