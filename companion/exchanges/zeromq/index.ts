/** The exchange for ZeroMQ peers (docs/wire.md): REQ and DEALER to our ROUTER, PUB to our SUB, over `tcp` and `ipc`. */
import { errorReply, IPC, TCP } from '@cmbs/shared/broker';
import type { AddressPolicy } from '../../address-policy';
import type {
  BroadcastConnection,
  Exchange,
  ExchangeDefinition,
  ExchangeEnvironment,
  FrameListener,
  FrameReplier,
  MemberSocket,
  OpenSocket,
  RequestConnection,
} from '../exchange';
import { Broadcaster } from './broadcaster';
import { Listener } from './listener';
import { SocketContext } from './options';
import { Replier } from './replier';
import { Requester } from './requester';

/** @param addresses which addresses members may have, and which may be connected to */
export const zeroMq = (addresses: AddressPolicy): ExchangeDefinition => ({
  schemes: [TCP, IPC],
  open: (environment) => new ZeroMqExchange(environment, addresses),
});

class ZeroMqExchange implements Exchange {
  readonly #environment: ExchangeEnvironment & { readonly context: SocketContext };
  readonly #addresses: AddressPolicy;

  constructor({ log, counters, clock }: ExchangeEnvironment, addresses: AddressPolicy) {
    this.#environment = { log, counters, clock, context: new SocketContext(addresses) };
    this.#addresses = addresses;
  }

  async serveRequests({ address }: MemberSocket, reply: FrameReplier): Promise<OpenSocket> {
    const options = { ...this.#environment, errorReply };
    return Replier.bind(this.#addresses.toBind(address), (body) => reply(body), options);
  }

  async serveBroadcasts({ address }: MemberSocket, listen: FrameListener): Promise<OpenSocket> {
    return Listener.bind(this.#addresses.toBind(address), listen, this.#environment);
  }

  connectForRequests(address: string): RequestConnection {
    return new Requester(address, this.#environment);
  }

  connectForBroadcasts(address: string): BroadcastConnection {
    return new Broadcaster(address, this.#environment);
  }

  close(): void {
    this.#environment.context.close();
  }
}
