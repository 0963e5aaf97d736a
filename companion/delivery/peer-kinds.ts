/**
 * What peers have shown of themselves, by address. A peer that runs the original program (pyCMBS) crashes when the content
 * of a message has no `id`. Such a peer is recognised by its replies, which describe it and have no `transfer`.
 */
import { isJsonObject, type Json, type JsonObject } from '@cmbs/shared';

/** Addresses whose program is remembered. */
const MAX_KNOWN_PEERS = 10_000;

/** `ours`: recognises repeated messages. `original`: describes itself as the original does. `any`: takes any content. */
type Kind = 'ours' | 'original' | 'any';

/** Whether the original program survives a content: the program reads `content["id"]`. */
export const hasId = (content: Json): boolean => isJsonObject(content) && Object.hasOwn(content, 'id');

export class PeerKinds {
  readonly #kinds = new Map<string, Kind>();

  /** A reply came. @param hadId whether the content of the answered message had an `id` */
  answered(address: string, reply: JsonObject, hadId: boolean): void {
    const isDescribed = isJsonObject(reply.member_description);
    const kind = isJsonObject(reply.transfer) ? 'ours' : !hadId ? 'any' : isDescribed ? 'original' : undefined;
    // A peer that took any content keeps that kind: it is not the original, or was repaired.
    if (kind === undefined || (kind === 'original' && this.#kinds.get(address) === 'any')) return;
    this.#remember(address, kind);
  }

  /** A peer crashed again and again at one message whose content had no `id`; such messages no longer go there. */
  didNotSurvive(address: string): void {
    this.#remember(address, 'original');
  }

  #remember(address: string, kind: Kind): void {
    this.#kinds.delete(address);
    this.#kinds.set(address, kind);
    const [oldest] = this.#kinds.keys();
    if (this.#kinds.size > MAX_KNOWN_PEERS && oldest !== undefined) this.#kinds.delete(oldest);
  }

  /** Whether the peer at an address has shown itself to be of a kind. */
  is(address: string, kind: Kind): boolean {
    return this.#kinds.get(address) === kind;
  }
}
