/** The subscriptions of one peer, which alone decide which broadcasts it gets (RFC 29). */

/** Subscriptions of one peer, and bytes of them: each broadcast is compared with all. Our own is one, of no bytes. */
const MAX_SUBSCRIPTIONS = 1000;
const MAX_SUBSCRIPTION_BYTES = 64 * 1024;

export class Subscriptions {
  /** How many times the peer is subscribed to each prefix. */
  readonly #times = new Map<string, number>();
  #bytes = 0;

  /** Number of prefixes. */
  get size(): number {
    return this.#times.size;
  }

  get isTooLarge(): boolean {
    return this.#times.size > MAX_SUBSCRIPTIONS || this.#bytes > MAX_SUBSCRIPTION_BYTES;
  }

  add(prefix: string): void {
    const times = this.#times.get(prefix) ?? 0;
    this.#times.set(prefix, times + 1);
    if (times === 0) this.#bytes += prefix.length;
  }

  remove(prefix: string): void {
    const times = this.#times.get(prefix) ?? 0;
    if (times > 1) this.#times.set(prefix, times - 1);
    if (times !== 1) return;
    this.#times.delete(prefix);
    this.#bytes -= prefix.length;
  }

  clear(): void {
    this.#times.clear();
    this.#bytes = 0;
  }

  /** Whether the peer gets a broadcast with this body. */
  match(body: Buffer): boolean {
    if (this.#times.has('')) return true;
    for (const prefix of this.#times.keys()) {
      if (body.toString('latin1', 0, prefix.length) === prefix) return true;
    }
    return false;
  }
}
