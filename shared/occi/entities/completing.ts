/** Lets the providers of the kinds complete the changes of one request. */
import { CmbsError } from '../../errors';
import type { Transaction } from '../../store';
import type { CategorySnapshot } from '../categories/snapshot';
import type { Entity, Path } from '../model';
import type { Change, ChangeRequest, Completion, Provider } from '../provider';
import type { Noted, Requester } from './context';

export interface Completed {
  /** The entities to write. */
  readonly entities: ReadonlyMap<Path, Entity>;
  readonly completions: readonly Completion[];
}

/** Calls {@link Provider.complete} once for each provider, with all its changes. */
export async function completed(
  tx: Transaction,
  changes: readonly Change[],
  snapshot: CategorySnapshot,
  request: ChangeRequest,
): Promise<Completed> {
  const byProvider = new Map<Provider, Change[]>();
  for (const change of changes) {
    const provider = snapshot.providerOf(change.next.kind);
    if (provider?.complete === undefined) continue;
    byProvider.set(provider, [...(byProvider.get(provider) ?? []), change]);
  }
  const completions: Completion[] = [];
  for (const [provider, own] of byProvider) {
    const completion = await provider.complete?.(tx, own, request);
    if (completion !== undefined) completions.push(completion);
  }
  const all = [...changes.map(({ next }) => next), ...completions.flatMap(({ entities }) => entities)];
  return { entities: new Map(all.map((entity) => [entity.path, entity])), completions };
}

/** Does the work of the providers that follows the commit, and gathers their remarks for the client. */
export async function concluded(
  completions: readonly Completion[],
  { signal }: Pick<Requester, 'signal'>,
): Promise<Noted> {
  await Promise.all(completions.map(async ({ afterwards }) => afterwards?.(signal)));
  const secrets = Object.fromEntries(
    completions.flatMap((completion) => Object.entries(completion.secrets ?? {})),
  );
  return {
    notes: completions.flatMap(({ notes = [] }) => notes),
    ...(Object.keys(secrets).length === 0 ? {} : { secrets }),
  };
}

/** @throws CmbsError `conflict` for an entity whose deletion has begun */
export function refuseLeaving({ path, isLeaving }: Entity): void {
  if (isLeaving === true) {
    throw new CmbsError('conflict', `${path} is being deleted; repeat the DELETE if it is still there.`);
  }
}
