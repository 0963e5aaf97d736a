/** What a deployment offers beside OCCI's core: one list for all its programs, or they would not know each other's kinds. */
import { type BrokerOptions, CMBS_EXTENSION, cmbsExtension } from './broker';
import type { ExtensionName } from './config';
import { type Extension, infrastructure, INFRASTRUCTURE_CATEGORIES } from './occi';

interface Offer {
  /** In `CMBS_EXTENSIONS`; absent: always. */
  readonly name?: ExtensionName;
  /** For a program that reads and writes such entities and does not act on them. */
  readonly passive: Extension;
  /** With the providers that act. */
  readonly active: (options: BrokerOptions) => Extension;
}

const OFFERS: readonly Offer[] = [
  { passive: CMBS_EXTENSION, active: cmbsExtension },
  { name: 'infrastructure', passive: INFRASTRUCTURE_CATEGORIES, active: infrastructure },
];

/** @param options for the providers; without them the extensions have categories only */
export function extensionsOf(names: readonly ExtensionName[], options?: BrokerOptions): readonly Extension[] {
  return OFFERS.filter(({ name }) => name === undefined || names.includes(name)).map(({ passive, active }) =>
    options === undefined ? passive : active(options),
  );
}
