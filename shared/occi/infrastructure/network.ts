/** Network, NetworkInterface and their IP mixins (GFD.224 §3.2, §3.4.1). */
import { categoryId, LINK_KIND, RESOURCE_KIND, type AttributeSpecs, type Category } from '../model';
import { action, integer, kind, mixin, oneOf, stateAttributes, text } from './define';

const IP_ADDRESS = { pattern: '^[0-9A-Fa-f.:]+$' } as const;
const IP_RANGE = { pattern: '^[0-9A-Fa-f.:]+(?:/[0-9]{1,3})?$' } as const;

export const up = action('network', 'up', 'Bring the network up');
export const down = action('network', 'down', 'Take the network down');

export const network = kind(
  'network',
  'Network Resource',
  RESOURCE_KIND,
  {
    'occi.network.vlan': integer('802.1q VLAN identifier', 0, 4095),
    'occi.network.label': text('Tag of a tag-based VLAN', { schema: { minLength: 1 } }),
    ...stateAttributes('occi.network', ['active', 'inactive', 'error'], 'inactive'),
  },
  [up, down],
);

const ipNetwork = mixin('ipnetwork', 'IP Networking', {
  scheme: 'http://schemas.ogf.org/occi/infrastructure/network#',
  location: '/network/ipnetwork/',
  applies: categoryId(network),
  attributes: {
    'occi.network.address': text('Address range in CIDR notation', { schema: IP_RANGE }),
    'occi.network.gateway': text('Address of the gateway', { schema: IP_ADDRESS }),
    'occi.network.allocation': oneOf('How addresses are given out', ['dynamic', 'static']),
  },
});

export const INTERFACE = 'occi.networkinterface.interface';
export const MAC = 'occi.networkinterface.mac';
export const ADDRESS = 'occi.networkinterface.address';
export const ALLOCATION = 'occi.networkinterface.allocation';

const interfaceAttributes: AttributeSpecs = {
  // Both always have a value; the provider chooses one if the client does not.
  [INTERFACE]: text('Name of the device inside the instance', { mutable: false, once: true }),
  [MAC]: text('MAC address', { schema: { pattern: '^[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}$' } }),
  ...stateAttributes('occi.networkinterface', ['active', 'inactive', 'error'], 'active'),
};

export const networkInterface = kind('networkinterface', 'NetworkInterface Link', LINK_KIND, interfaceAttributes);

export const ipNetworkInterface = mixin('ipnetworkinterface', 'IP Network Interface', {
  scheme: 'http://schemas.ogf.org/occi/infrastructure/networkinterface#',
  location: '/networkinterface/ipnetworkinterface/',
  applies: categoryId(networkInterface),
  attributes: {
    [ADDRESS]: text('Address of the interface', { schema: IP_RANGE }),
    'occi.networkinterface.gateway': text('Address of the gateway', { schema: IP_ADDRESS }),
    [ALLOCATION]: oneOf('How the address is given', ['dynamic', 'static'], { default: 'dynamic' }),
  },
});

export const NETWORK_CATEGORIES: readonly Category[] = [
  network,
  networkInterface,
  ipNetwork,
  ipNetworkInterface,
  up,
  down,
];
