/**
 * For each destination whose messages are in the store alone, one of them. A destination is tried for as long as this
 * watched message exists. When the message is deleted (cancelled, expired), the destination looks whether others wait. So
 * the deletion of other messages costs nothing, and no list of waiting messages is needed.
 */
export interface WatchedMessageUser {
  /** The watched message was deleted. */
  lookAgain(): void;
}

export class WatchedMessages {
  readonly #ofUser = new Map<WatchedMessageUser, string>();
  readonly #users = new Map<string, Set<WatchedMessageUser>>();

  has(user: WatchedMessageUser): boolean {
    return this.#ofUser.has(user);
  }

  /** Watches an outbound message that waits for the user, in place of an earlier one. */
  set(user: WatchedMessageUser, outboundId: string): void {
    this.forget(user);
    this.#ofUser.set(user, outboundId);
    const users = this.#users.get(outboundId) ?? new Set();
    this.#users.set(outboundId, users.add(user));
  }

  forget(user: WatchedMessageUser): void {
    const outboundId = this.#ofUser.get(user);
    if (outboundId === undefined) return;
    this.#ofUser.delete(user);
    const users = this.#users.get(outboundId);
    users?.delete(user);
    if (users?.size === 0) this.#users.delete(outboundId);
  }

  /** An outbound message was deleted from the store. */
  deleted(outboundId: string): void {
    for (const user of [...(this.#users.get(outboundId) ?? [])]) {
      this.forget(user);
      user.lookAgain();
    }
  }
}
