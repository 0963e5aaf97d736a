/**
 * Proofs that a member of this deployment sent a frame. A frame says who sent it, and anybody who reaches a socket can say
 * the same. With a proof, which only companions of the deployment can make, the sender counts as the member that it says.
 * Peers elsewhere may ignore the field (docs/wire.md).
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../clock';
import { MESSAGE_TTL_MS } from '../limits';
import type { Principal } from '../principal';
import { deploymentKey, type Store } from '../store';
import { MEMBERS } from './cmbs';
import type { Transfer, WireMessage } from './wire';

/** Milliseconds for which a proof holds: longer than a message is tried, and shorter than its receipt is kept. */
const MAX_PROOF_AGE_MS = MESSAGE_TTL_MS + 60 * 60 * 1000;
/** Milliseconds that the clocks of two companions may differ. */
const MAX_SKEW_MS = 5 * 60 * 1000;
const KEY_ID = 'frame-key';

/** The member at whose socket a frame arrived, and the address of the socket. */
export interface Receiver {
  readonly id: string;
  readonly address: string | undefined;
}

export interface FrameProofsOptions {
  /** Id of the deployment, as in hops. */
  readonly deployment: string;
  readonly clock: Pick<Clock, 'now'>;
}

export class FrameProofs {
  readonly #key: Buffer;
  readonly #options: FrameProofsOptions;

  constructor(key: Buffer, options: FrameProofsOptions) {
    this.#key = key;
    this.#options = options;
  }

  /** The proofs of a deployment, by the key in its store; the first companion makes the key. */
  static async open(store: Pick<Store, 'get' | 'create'>, options: FrameProofsOptions): Promise<FrameProofs> {
    return new FrameProofs(await deploymentKey(store, KEY_ID), options);
  }

  /** Milliseconds since the epoch, for the `sealed_at` of a frame. */
  now(): number {
    return this.#options.clock.now();
  }

  /**
   * The frame with a proof of its text.
   * @param transfer the JSON text of the frame's `transfer`, which is the last attribute
   */
  seal(frame: string, transfer: string): string {
    const at = frame.lastIndexOf(transfer);
    if (at < 0 || !transfer.endsWith('}')) throw new Error('The frame does not have this transfer.');
    const end = at + transfer.length - 1;
    return frame.slice(0, end) + memberOf(this.#digest(frame).toString('base64url')) + frame.slice(end);
  }

  /**
   * The member that sent the frame to the receiver, if both are proved; undefined otherwise. A receiver can send a frame on
   * to others, so a frame that does not name its receivers proves nothing.
   */
  senderOf({ text, transfer }: Pick<WireMessage, 'text' | 'transfer'>, receiver: Receiver): Principal | undefined {
    const { proof, to = [], addresses = [] } = transfer;
    const isFor =
      to.includes(receiver.id) || (receiver.address !== undefined && addresses.includes(receiver.address));
    if (proof === undefined || !isFor || !this.#isRecent(transfer)) return undefined;
    const field = memberOf(proof);
    // Later texts of a frame cannot have quotes that are not escaped, so the last one is that of the transfer.
    const at = text.lastIndexOf(field);
    if (at < 0) return undefined;
    const given = Buffer.from(proof, 'base64url');
    const expected = this.#digest(text.slice(0, at) + text.slice(at + field.length));
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
    const [deployment, id] = (transfer.hops?.at(-1) ?? '').split('/');
    if (deployment !== this.#options.deployment || id === undefined || id === '') return undefined;
    const { token } = transfer;
    return { kind: 'member', name: MEMBERS + id, ...(token === undefined ? {} : { token }) };
  }

  /** An old frame could be sent again when its receiver has forgotten the receipt, by which it recognises the message. */
  #isRecent({ sealed_at: sealedAt }: Transfer): boolean {
    if (sealedAt === undefined) return false;
    const age = this.now() - sealedAt;
    return age <= MAX_PROOF_AGE_MS && age >= -MAX_SKEW_MS;
  }

  #digest(text: string): Buffer {
    return createHmac('sha256', this.#key).update(text).digest();
  }
}

/** The proof as a member of the transfer's JSON. */
const memberOf = (proof: string): string => `,"proof":"${proof}"`;
