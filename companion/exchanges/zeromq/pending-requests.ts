/** The requests to one peer that have no outcome yet: those that wait to be sent, and those in flight. */

/** Bytes of requests to one peer that were sent and not answered. */
const MAX_REQUEST_BYTES_IN_FLIGHT = 8 * 1024 * 1024;

export interface PendingRequest {
  readonly id: number;
  readonly body: Buffer | string;
  /** Time in milliseconds at which it fails. */
  readonly deadlineMs: number;
  readonly resolve: (reply: Buffer) => void;
  readonly reject: (error: Error) => void;
  readonly signal: AbortSignal | undefined;
  readonly onAbort: (() => void) | undefined;
  /** The number of the connection that it was sent on; 0 while it waits. */
  connection: number;
}

export class PendingRequests {
  readonly #maxInFlight: number;
  /** Both in the order of the requests. */
  #waiting = new Map<number, PendingRequest>();
  readonly #inFlight = new Map<number, PendingRequest>();
  #inFlightBytes = 0;
  #lastId = 0;

  constructor(maxInFlight: number) {
    this.#maxInFlight = maxInFlight;
  }

  get size(): number {
    return this.#waiting.size + this.#inFlight.size;
  }

  get waitingCount(): number {
    return this.#waiting.size;
  }

  get inFlightCount(): number {
    return this.#inFlight.size;
  }

  /** Those that wait, in order. */
  get waiting(): Iterable<PendingRequest> {
    return this.#waiting.values();
  }

  /** A copy: its requests may be settled while a caller goes through it. */
  get inFlight(): readonly PendingRequest[] {
    return [...this.#inFlight.values()];
  }

  /** The same for all. */
  get all(): readonly PendingRequest[] {
    return [...this.#inFlight.values(), ...this.#waiting.values()];
  }

  nextId(): number {
    do this.#lastId = (this.#lastId + 1) >>> 0;
    while (this.#inFlight.has(this.#lastId) || this.#waiting.has(this.#lastId));
    return this.#lastId;
  }

  /** The request in flight with this id. */
  sent(id: number): PendingRequest | undefined {
    return this.#inFlight.get(id);
  }

  find(id: number): PendingRequest | undefined {
    return this.#inFlight.get(id) ?? this.#waiting.get(id);
  }

  /** Whether the request may be in flight with those that are. */
  hasRoomFor({ body }: PendingRequest): boolean {
    if (this.#inFlight.size === 0) return true;
    if (this.#inFlight.size >= this.#maxInFlight) return false;
    return this.#inFlightBytes + body.length <= MAX_REQUEST_BYTES_IN_FLIGHT;
  }

  wait(pending: PendingRequest): void {
    this.#waiting.set(pending.id, pending);
  }

  send(pending: PendingRequest, connection: number): void {
    this.#waiting.delete(pending.id);
    pending.connection = connection;
    this.#inFlight.set(pending.id, pending);
    this.#inFlightBytes += pending.body.length;
  }

  /** Puts a request that was not sent back to its place among those that wait. False when it is not in flight. */
  putBack(pending: PendingRequest): boolean {
    if (!this.#land(pending)) return false;
    pending.connection = 0;
    this.#waiting.set(pending.id, pending);
    this.#waiting = new Map([...this.#waiting].sort(([one], [other]) => one - other));
    return true;
  }

  remove(pending: PendingRequest): void {
    if (!this.#land(pending)) this.#waiting.delete(pending.id);
  }

  #land(pending: PendingRequest): boolean {
    if (!this.#inFlight.delete(pending.id)) return false;
    this.#inFlightBytes -= pending.body.length;
    return true;
  }
}
