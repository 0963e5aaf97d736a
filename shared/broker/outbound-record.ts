/** An outbound message as it is stored. */
import { crc32 } from 'node:zlib';
import type { Path } from '../occi';
import type { Principal } from '../principal';
import type { Delivery } from './delivery';
import type { Layer } from './layer-definition';

/** Collection of outbound messages; the name of release 1.0. */
export const OUTBOUND_MESSAGES = 'sends';
/** Index field: the shard whose companion delivers the message. */
export const SHARD_FIELD = 'shard';
/** Index field: the part of a shard's messages that the message is in. A part is read in order. */
export const PART_FIELD = 'part';
/**
 * Parts of the messages of a shard. Firestore takes some 500 writes per second where an indexed value grows with time, so
 * the order of a shard's messages is indexed in parts.
 */
const PARTS = 4;
/** Index field: the addresses of open deliveries. */
export const ADDRESS_FIELD = 'address';

/** The parts of a shard's messages. */
export const partsOf = (shard: string): readonly string[] =>
  Array.from({ length: PARTS }, (_, part) => `${shard}/${part}`);

/** The part of a message; undefined for a message without a shard. */
export const partOf = ({ id, shard }: Pick<OutboundMessage, 'id' | 'shard'>): string | undefined =>
  shard === undefined ? undefined : partsOf(shard)[crc32(id) % PARTS];

export interface OutboundMessage {
  readonly id: string;
  /** On the wire; differs from {@link id} where a message of another member is passed on. */
  readonly wireId: string;
  readonly message: Path;
  readonly layer: Layer;
  /** Path of the local member that sends. */
  readonly from: Path;
  /** The shard of that member; absent in messages that release 1.0 queued, until a companion has written them again. */
  readonly shard?: string;
  /** The principal that sent the message; absent in messages that earlier releases queued. */
  readonly principal?: Principal;
  readonly createdAt: number;
  /** Milliseconds by the order clock; absent in messages that earlier releases queued, where {@link createdAt} is the order. */
  readonly orderedAt?: number;
  /** Order among the outbound messages that one process queued in one millisecond. */
  readonly sequence: number;
  readonly expiresAt: number;
  /** The companion that claimed the outbound message; absent while none delivers it, and at the start of a delivery. */
  readonly holder?: string;
  readonly receivers: readonly Delivery[];
  /** Local members that take the message from the topic bus; absent in messages that earlier releases queued. */
  readonly subscribers?: number;
  /** W3C Trace Context of the request. */
  readonly trace?: string;
  /** The frame to pass on, where the message is not an entity of this deployment. */
  readonly frame?: string;
  /** JSON text of the message as it was sent, once a client has changed it since (`sent-message.ts`). */
  readonly sent?: string;
  /** Messages from one member with the same key are published on a layer in the order in which they were queued. */
  readonly orderingKey?: string;
  /** `deployment/member` that sent a message which is passed on: its order is kept, not that of {@link from}. */
  readonly sender?: string;
  /** Bytes of the frame, approximately. */
  readonly bytes?: number;
}
