/** The beginning of a peer's connection: its greeting and its READY command (RFC 23), within a time. */
import type { Clock } from '@cmbs/shared';
import {
  GREETING_BYTES,
  greetingFault,
  type GreetingFault,
  isFitting,
  parseCommand,
  readyFrame,
  readyProperties,
  type SocketType,
} from './zmtp';

/** Milliseconds until a connection that was accepted must have spoken ZMTP; a slow link needs about one second. */
const HANDSHAKE_TIMEOUT_MS = 3000;

export type HandshakeFault =
  GreetingFault | 'no_handshake' | 'socket_does_not_fit' | 'refused_by_peer' | 'handshake_timeout';

export class Handshake {
  readonly #type: SocketType;
  readonly #cut: (fault: HandshakeFault) => void;
  readonly #cancelTimeout: () => void;
  #greeting: Buffer | undefined = Buffer.alloc(GREETING_BYTES);
  #greeted = 0;
  #isDone = false;

  /**
   * @param type of our socket
   * @param cut called with the fault of a peer that is to be cut off
   */
  constructor(type: SocketType, clock: Clock, cut: (fault: HandshakeFault) => void) {
    this.#type = type;
    this.#cut = cut;
    this.#cancelTimeout = clock.after(HANDSHAKE_TIMEOUT_MS, () => cut('handshake_timeout'));
  }

  get isGreeted(): boolean {
    return this.#greeting === undefined;
  }

  /** The peer's READY fits our socket. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** Takes the first bytes of the connection. @returns how many belong to the greeting; undefined when the peer was cut */
  greet(chunk: Buffer): number | undefined {
    if (this.#greeting === undefined) return 0;
    const taken = chunk.copy(this.#greeting, this.#greeted);
    this.#greeted += taken;
    const fault = greetingFault(this.#greeting, this.#greeted);
    if (fault !== undefined) {
      this.#cut(fault);
      return undefined;
    }
    if (this.#greeted === GREETING_BYTES) this.#greeting = undefined;
    return taken;
  }

  /** Takes the first command. @returns the bytes for libzmq in its place; undefined when the peer was cut off */
  ready(body: Buffer): Buffer | undefined {
    const command = parseCommand(body);
    const properties = command?.name === 'READY' ? readyProperties(command.rest) : undefined;
    if (command?.name === 'ERROR') this.#cut('refused_by_peer');
    else if (properties === undefined) this.#cut('no_handshake');
    else if (!isFitting(this.#type, properties)) this.#cut('socket_does_not_fit');
    else {
      this.#isDone = true;
      this.#cancelTimeout();
      return readyFrame(properties);
    }
    return undefined;
  }

  /** The connection has ended. */
  end(): void {
    this.#cancelTimeout();
  }
}
