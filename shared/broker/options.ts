/** What the providers of the broker are made from. */
import type { PortSettings } from './ports';
import type { MessageSenderOptions } from './message-sender';

/** What sending needs, and the ports that members get. */
export interface BrokerOptions extends MessageSenderOptions {
  readonly ports: PortSettings;
}
