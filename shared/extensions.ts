/** The extensions of OCCI's core: one list, so that all programs of a deployment have the same kinds. */
import { ACCESS_CATEGORIES } from './access';
import { type BrokerOptions, cmbsCategories, cmbsExtension, type Layers } from './broker';
import type { ExtensionName } from './config';
import { type Extension, infrastructure, INFRASTRUCTURE_CATEGORIES } from './occi';

interface Offer {
  /** The name in `CMBS_EXTENSIONS`; absent: the extension is always on. */
  readonly name?: ExtensionName;
  /** For a program that reads and writes the entities without acting on them. */
  readonly passive: (layers: Layers) => Extension;
  /** With the providers, which act on the entities. */
  readonly active: (options: BrokerOptions, access: Extension) => Extension;
}

const OFFERS: readonly Offer[] = [
  { passive: cmbsCategories, active: cmbsExtension },
  { passive: () => ACCESS_CATEGORIES, active: (_options, access) => access },
  { name: 'infrastructure', passive: () => INFRASTRUCTURE_CATEGORIES, active: infrastructure },
];

/**
 * The extensions with their providers.
 * @param access the kinds of users, groups, tokens and rules
 */
export function extensionsOf(
  names: readonly ExtensionName[],
  options: BrokerOptions,
  access: Extension,
): readonly Extension[] {
  return offered(names).map(({ active }) => active(options, access));
}

/** The extensions without providers. */
export function passiveExtensionsOf(names: readonly ExtensionName[], layers: Layers): readonly Extension[] {
  return offered(names).map(({ passive }) => passive(layers));
}

const offered = (names: readonly ExtensionName[]): readonly Offer[] =>
  OFFERS.filter(({ name }) => name === undefined || names.includes(name));
