/** What the providers of the broker are made from. */
import type { PortSettings } from './ports';
import type { SendsOptions } from './sends';

/** What sending needs, and the ports that members get. */
export interface BrokerOptions extends SendsOptions {
  readonly ports: PortSettings;
}
