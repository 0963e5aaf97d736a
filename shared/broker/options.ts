/** The options of the broker's providers. */
import type { AddressSchemes } from './addresses';
import type { PortSettings } from './ports';
import type { MessageSenderOptions } from './message-sender';

/** Options of sending, and the ports that members get. */
export interface BrokerOptions extends MessageSenderOptions {
  readonly ports: PortSettings;
  /** Forms of address that members and messages may name; those of ZeroMQ when absent. */
  readonly schemes?: AddressSchemes;
}
