/** The desired state of members' layers: stored, so that a restarted companion opens the same sockets by itself. */
import type { JsonObject } from '../json';
import type { Layer, Layers } from './layer-definition';

/** Collection of desired states, one document per member under its path. */
export const DESIRED = 'desired-layers';

/** `started` or `stopped` by layer, absent for a layer that was never started; `changedAt` in milliseconds. */
export type Desired = JsonObject;

export function withDesired(
  before: Desired | undefined,
  layer: Layer,
  desired: 'started' | 'stopped',
  now: number,
): Desired {
  return { ...before, [layer]: desired, changedAt: now };
}

/** For a member that is about to be deleted. */
export function allStopped({ names }: Layers, now: number): Desired {
  return { ...Object.fromEntries(names.map((layer) => [layer, 'stopped'] as const)), changedAt: now };
}

export function startedLayers(desired: Desired | undefined, { names }: Layers): readonly Layer[] {
  return names.filter((layer) => desired?.[layer] === 'started');
}
