/**
 * For each destination whose messages lie in the store alone, one of them. A destination is tried for as long as its
 * witness is there; when that is gone (cancelled, expired), it looks whether others wait. So what is deleted elsewhere
 * costs nothing, and no list is kept of what waits.
 */
export interface WatchedMessageUser {
  /** The witness is gone. */
  lookAgain(): void;
}

export class WatchedMessages {
  readonly #ofUser = new Map<WatchedMessageUser, string>();
  readonly #users = new Map<string, Set<WatchedMessageUser>>();

  has(user: WatchedMessageUser): boolean {
    return this.#ofUser.has(user);
  }

  /** An outbound message waits for the user, in the place of an earlier witness. */
  set(user: WatchedMessageUser, sendId: string): void {
    this.forget(user);
    this.#ofUser.set(user, sendId);
    const users = this.#users.get(sendId) ?? new Set();
    this.#users.set(sendId, users.add(user));
  }

  forget(user: WatchedMessageUser): void {
    const sendId = this.#ofUser.get(user);
    if (sendId === undefined) return;
    this.#ofUser.delete(user);
    const users = this.#users.get(sendId);
    users?.delete(user);
    if (users?.size === 0) this.#users.delete(sendId);
  }

  /** An outbound message is in the store no more. */
  deleted(sendId: string): void {
    for (const user of [...(this.#users.get(sendId) ?? [])]) {
      this.forget(user);
      user.lookAgain();
    }
  }
}
