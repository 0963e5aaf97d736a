/** What the providers of the broker are made from. */
import type { AddressSchemes } from './addresses';
import type { PortSettings } from './ports';
import type { MessageSenderOptions } from './message-sender';

/** What sending needs, and the ports that members get. */
export interface BrokerOptions extends MessageSenderOptions {
  readonly ports: PortSettings;
  /** Forms of address that members and messages may name; those of ZeroMQ when absent. */
  readonly schemes?: AddressSchemes;
}
