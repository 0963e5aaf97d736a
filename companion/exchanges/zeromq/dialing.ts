/** One attempt to reach a peer: resolves its name, checks the address, and connects, within a time. */
import { connect, type Socket as Stream } from 'node:net';
import { type Clock, CmbsError } from '@cmbs/shared';
import type { Address } from '@cmbs/shared/broker';
import { codeOf } from './errno';
import { CONNECT_TIMEOUT_MS } from './limits';
import { clockOf, type SocketEnvironment } from './options';
import { type Endpoint, isNamed, literalEndpoint, resolveEndpoint } from './resolve';

export interface DialingOwner {
  /** The name of the peer stands for this IP address. */
  resolved(ip: string | undefined): void;
  /** The peer has accepted the connection, which is the owner's from here on. */
  connected(peer: Stream): void;
  /** @param why in a few words for a user */
  failed(why: string): void;
}

/** Why a peer could not be reached, in a few words for a user. */
function whyNot(error: unknown): string {
  switch (codeOf(error)) {
    case 'ECONNREFUSED':
    case 'ENOENT':
      return 'nobody listens there';
    case 'EMFILE':
    case 'ENFILE':
    case 'ENOBUFS':
    case 'ENOMEM':
      return 'no socket could be opened here';
    default:
      return 'nobody answers there';
  }
}

export class Dialing {
  readonly #address: Address;
  readonly #environment: SocketEnvironment;
  readonly #owner: DialingOwner;
  readonly #clock: Clock;
  #peer: Stream | undefined;
  #cancelTimeout = (): void => undefined;
  /** The outcome was reported, or the attempt was cancelled. */
  #isOver = false;

  constructor(address: Address, environment: SocketEnvironment, owner: DialingOwner) {
    this.#address = address;
    this.#environment = environment;
    this.#owner = owner;
    this.#clock = clockOf(environment);
    if (isNamed(address)) void this.#resolveAndConnect();
    else this.#connect(literalEndpoint(address));
  }

  /** Gives the attempt up; the owner is told nothing more. */
  cancel(): void {
    if (this.#isOver) return;
    this.#end();
    this.#peer?.destroy();
  }

  async #resolveAndConnect(): Promise<void> {
    const { context, log } = this.#environment;
    let endpoint: Endpoint;
    try {
      endpoint = await resolveEndpoint(this.#address, this.#clock, (ip) =>
        context.addresses?.checkDialled(this.#address, ip),
      );
    } catch (error) {
      if (this.#isOver) return;
      if (error instanceof CmbsError) {
        log.warn('connection refused by the rules', { reason: error.message });
        this.#fail('its address is refused');
        return;
      }
      log.debug('name not resolved', { address: this.#address.text, error });
      this.#fail('its name cannot be resolved');
      return;
    }
    if (this.#isOver) return;
    this.#owner.resolved(endpoint.ip);
    this.#connect(endpoint);
  }

  #connect({ ip }: Endpoint): void {
    const { path, port = 0 } = this.#address;
    const peer = connect(path === undefined ? { host: ip ?? '', port } : { path });
    this.#peer = peer;
    peer.on('error', (error) => this.#fail(whyNot(error)));
    this.#cancelTimeout = this.#clock.after(CONNECT_TIMEOUT_MS, () => this.#fail('nobody answers there'));
    peer.once('connect', () => {
      if (this.#isOver) return;
      this.#end();
      this.#owner.connected(peer);
    });
  }

  #fail(why: string): void {
    if (this.#isOver) return;
    this.#end();
    this.#peer?.destroy();
    this.#owner.failed(why);
  }

  #end(): void {
    this.#isOver = true;
    this.#cancelTimeout();
  }
}
