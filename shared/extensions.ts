/** The extensions of OCCI's core that a deployment offers: one list, so that all its programs know the same kinds. */
import { type BrokerOptions, cmbsCategories, cmbsExtension, type Layers } from './broker';
import type { ExtensionName } from './config';
import { type Extension, infrastructure, INFRASTRUCTURE_CATEGORIES } from './occi';

interface Offer {
  /** In `CMBS_EXTENSIONS`; absent: always. */
  readonly name?: ExtensionName;
  /** For a program that reads and writes such entities and does not act on them. */
  readonly passive: (layers: Layers) => Extension;
  /** With the providers that act. */
  readonly active: (options: BrokerOptions) => Extension;
}

const OFFERS: readonly Offer[] = [
  { passive: cmbsCategories, active: cmbsExtension },
  { name: 'infrastructure', passive: () => INFRASTRUCTURE_CATEGORIES, active: infrastructure },
];

/** With the providers that act. */
export function extensionsOf(names: readonly ExtensionName[], options: BrokerOptions): readonly Extension[] {
  return offered(names).map(({ active }) => active(options));
}

/** Without providers. */
export function passiveExtensionsOf(names: readonly ExtensionName[], layers: Layers): readonly Extension[] {
  return offered(names).map(({ passive }) => passive(layers));
}

const offered = (names: readonly ExtensionName[]): readonly Offer[] =>
  OFFERS.filter(({ name }) => name === undefined || names.includes(name));
