/** What the providers of the broker are made from. */
import type { PortSettings } from './ports';
import type { SendsOptions } from './sends';

/** `categories` is set after construction: providers and categories need each other. */
export interface BrokerOptions extends SendsOptions {
  readonly ports: PortSettings;
}
