/** The exchanges of a companion as one: the scheme of an address decides which of them carries a frame. */
import { AddressSchemes } from '@cmbs/shared/broker';
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
} from './exchange';

/** The schemes of these exchanges. @throws Error when two exchanges share a scheme */
export const schemesOf = (definitions: readonly ExchangeDefinition[]): AddressSchemes =>
  new AddressSchemes(definitions.flatMap(({ schemes }) => schemes));

export class Exchanges implements Exchange {
  readonly #schemes: AddressSchemes;
  readonly #open: readonly Exchange[];
  readonly #byScheme = new Map<string, Exchange>();

  constructor(definitions: readonly ExchangeDefinition[], environment: ExchangeEnvironment) {
    this.#schemes = schemesOf(definitions);
    this.#open = definitions.map((definition) => {
      const exchange = definition.open(environment);
      for (const { name } of definition.schemes) this.#byScheme.set(name, exchange);
      return exchange;
    });
  }

  async serveRequests(socket: MemberSocket, reply: FrameReplier): Promise<OpenSocket> {
    return this.#of(socket.address).serveRequests(socket, reply);
  }

  async serveBroadcasts(socket: MemberSocket, listen: FrameListener): Promise<OpenSocket> {
    return this.#of(socket.address).serveBroadcasts(socket, listen);
  }

  connectForRequests(address: string): RequestConnection {
    return this.#of(address).connectForRequests(address);
  }

  connectForBroadcasts(address: string): BroadcastConnection {
    return this.#of(address).connectForBroadcasts(address);
  }

  close(): void {
    for (const exchange of this.#open) exchange.close();
  }

  #of(address: string): Exchange {
    const { name } = this.#schemes.of(address);
    const exchange = this.#byScheme.get(name);
    if (exchange === undefined) throw new Error(`no exchange is open for ${name}`);
    return exchange;
  }
}
