/** The effects of actions on the state of an entity (the state diagrams of GFD.224 §3.1.1, §3.2.1, §3.3.1). */
import { CmbsError } from '../../errors';
import type { Values } from '../attributes';
import { categoryId, type Action, type CategoryId, type Entity } from '../model';
import * as compute from './compute';
import * as network from './network';
import * as storage from './storage';

interface Transition {
  readonly attribute: string;
  readonly from: readonly string[];
  /** Absent: the state stays. */
  readonly to?: string;
  /** Other attributes that the action changes. */
  readonly sets?: (given: Values) => Values;
}

function transitions(
  attribute: string,
  table: readonly (readonly [Action, from: readonly string[], to?: string, sets?: Transition['sets']])[],
): readonly (readonly [CategoryId, Transition])[] {
  return table.map(([action, from, to, sets]) => [
    categoryId(action),
    { attribute, from, ...(to === undefined ? {} : { to }), ...(sets === undefined ? {} : { sets }) },
  ]);
}

const TRANSITIONS: ReadonlyMap<CategoryId, Transition> = new Map([
  ...transitions('occi.compute.state', [
    [compute.start, ['inactive', 'suspended'], 'active'],
    [compute.stop, ['active'], 'inactive'],
    [compute.restart, ['active'], 'active'],
    [compute.suspend, ['active'], 'suspended'],
    [compute.save, ['active', 'inactive', 'suspended']],
  ]),
  ...transitions('occi.network.state', [
    [network.up, ['inactive'], 'active'],
    [network.down, ['active'], 'inactive'],
  ]),
  ...transitions('occi.storage.state', [
    [storage.online, ['offline'], 'online'],
    [storage.offline, ['online'], 'offline'],
    [storage.backup, ['online']],
    [storage.snapshot, ['online']],
    [
      storage.resize,
      ['online'],
      'online',
      ({ [storage.NEW_SIZE]: size }) => (size === undefined ? {} : { [storage.SIZE]: size }),
    ],
  ]),
]);

function stateOf(entity: Entity, attribute: string): string {
  const state = entity.attributes[attribute];
  return typeof state === 'string' ? state : 'without a state';
}

/** Whether the action applies in the entity's present state. Actions of other extensions always apply. */
export function applies(action: CategoryId, entity: Entity): boolean {
  const transition = TRANSITIONS.get(action);
  return transition === undefined || transition.from.includes(stateOf(entity, transition.attribute));
}

/**
 * The entity after the action.
 * @throws CmbsError `conflict` if the state does not allow the action
 */
export function carriedOut(action: CategoryId, given: Values, entity: Entity): Entity {
  const transition = TRANSITIONS.get(action);
  if (transition === undefined) return entity;
  const { attribute, from, to, sets } = transition;
  const state = stateOf(entity, attribute);
  if (!from.includes(state)) {
    throw new CmbsError(
      'conflict',
      `${entity.path} is ${state}, but ${action} requires the state ${from.join(' or ')}.`,
    );
  }
  return { ...entity, attributes: { ...entity.attributes, ...sets?.(given), [attribute]: to ?? state } };
}
