/**
 * Records of members that got another address or another shard, or were deleted. Companions watch the records, because a
 * member with waiting messages may be remote or of another shard, and companions do not watch those members.
 */
import type { NewId } from '../clock';
import type { Entity, Path } from '../occi';
import type { Doc, Transaction } from '../store';
import type { Layer, Layers } from './layer-definition';
import { isLocal, socketOf } from './member';
import { groupOf, type ShardOf } from './member-groups';

export const MEMBER_MOVES = 'member-moves';

/** Between the path of the member and what distinguishes its records. */
const SEPARATOR = '#';
/** Milliseconds for which a record is kept: a watch that is interrupted for longer is followed by a look at all messages. */
const KEPT_MS = 15 * 60_000;

export interface MemberMove {
  readonly member: Path;
  /** Addresses that the member had, by layer. */
  readonly sockets: Readonly<Record<Layer, string>>;
  /** The shard that a local member has come to. */
  readonly shard?: string;
}

export interface MoveContext {
  readonly layers: Layers;
  readonly clock: { now(): number };
  readonly newId: NewId;
  readonly shardOf: ShardOf;
}

/**
 * Records what concerns waiting messages in a change of a member.
 * @param next undefined when the member is deleted
 * @param cameFrom the group of the member before, where it is known otherwise than from `before`
 */
export function putMove(
  tx: Pick<Transaction, 'put'>,
  before: Entity,
  next: Entity | undefined,
  { layers, clock, newId, shardOf }: MoveContext,
  cameFrom = groupOf(before, shardOf),
): void {
  const sockets: Record<Layer, string> = {};
  for (const { name, usesMemberAddresses } of layers.all) {
    const old = socketOf(before, name);
    if (!usesMemberAddresses || old === undefined) continue;
    if (next === undefined || socketOf(next, name) !== old) sockets[name] = old;
  }
  const shard = next !== undefined && isLocal(next) ? shardOf(next) : undefined;
  const hasCome = shard !== undefined && isLocal(before) && cameFrom !== shard;
  if (next !== undefined && Object.keys(sockets).length === 0 && !hasCome) return;
  const move: MemberMove = { member: before.path, sockets, ...(hasCome ? { shard } : {}) };
  tx.put(MEMBER_MOVES, `${before.path}${SEPARATOR}${newId()}`, { ...move }, { expiresAt: clock.now() + KEPT_MS });
}

/** The member that a record is about. */
export const memberOfMove = (id: string): Path => id.slice(0, id.lastIndexOf(SEPARATOR));

export const moveOf = ({ value }: Doc): MemberMove => value as unknown as MemberMove;
