/** What start and stop asked for: durable, so that a restarted companion opens the same sockets by itself. */
import type { JsonObject } from '../json';
import { LAYERS, type Layer } from './layers';

/** Collection of desired states, one document per member under its path. */
export const DESIRED = 'desired-layers';

/** Layer to its desired state; an absent layer was never started. */
export type Desired = Readonly<Partial<Record<Layer, 'started' | 'stopped'>>> & { readonly changedAt?: number };

export function withDesired(
  before: Desired | undefined,
  layer: Layer,
  desired: 'started' | 'stopped',
  now: number,
): Desired & JsonObject {
  return { ...before, [layer]: desired, changedAt: now };
}

/** What is wanted of a member that is about to go. */
export function allStopped(now: number): Desired & JsonObject {
  return { ...(Object.fromEntries(LAYERS.map((layer) => [layer, 'stopped'])) as Desired), changedAt: now };
}

export function startedLayers(desired: Desired | undefined): readonly Layer[] {
  return LAYERS.filter((layer) => desired?.[layer] === 'started');
}
