/** Compute, its actions, its templates and the data for a new machine (GFD.224 §3.1, §3.5, §3.6; GFD.222). */
import { categoryId, RESOURCE_KIND, type AttributeSpecs, type Category, type Mixin } from '../model';
import { action, amount, integer, kind, mixin, oneOf, stateAttributes, text, withDefault } from './define';

const cores = integer('Number of CPU cores', 1);
const memory = amount('Maximum memory in gigabytes');

const attributes: AttributeSpecs = {
  'occi.compute.architecture': oneOf('CPU architecture', ['x86', 'x64']),
  'occi.compute.cores': cores,
  'occi.compute.hostname': text('Fully qualified DNS host name'),
  'occi.compute.share': integer('Relative number of CPU shares', 0),
  'occi.compute.memory': memory,
  'occi.compute.speed': amount('CPU clock in gigahertz; deprecated, clients of OCCI 1.1 send it'),
  ...stateAttributes('occi.compute', ['active', 'inactive', 'suspended', 'error'], 'inactive'),
};

const method = (...values: readonly string[]): AttributeSpecs => ({ method: oneOf('How it is done', values) });

export const start = action('compute', 'start', 'Start the system');
export const stop = action('compute', 'stop', 'Stop the system', method('graceful', 'acpioff', 'poweroff'));
export const restart = action('compute', 'restart', 'Restart the system', method('graceful', 'warm', 'cold'));
export const suspend = action('compute', 'suspend', 'Suspend the system', method('hibernate', 'suspend'));
export const save = action('compute', 'save', 'Save the system as a template', {
  ...method('hot', 'deferred'),
  name: text('Name of the saved template'),
});
const actions = [start, stop, restart, suspend, save];

export const compute = kind('compute', 'Compute Resource', RESOURCE_KIND, attributes, actions);
const applies = categoryId(compute);

const osTemplate = mixin('os_tpl', 'Operating System Template', { location: '/os_tpl/', applies });
const resourceTemplate = mixin('resource_tpl', 'Resource Template', { location: '/resource_tpl/', applies });

/** The standard leaves operating systems to the provider. This provider has one. */
const linux = mixin('linux', 'Any Linux', {
  scheme: 'http://houssem.org/cmbs/infrastructure/os_tpl#',
  location: '/os_tpl/linux/',
  applies,
  depends: categoryId(osTemplate),
});

/** Sizes as in the Compute Resource Templates Profile (GFD.222). */
function size(term: string, sizeCores: number, sizeMemory: number, ephemeral: number): Mixin {
  return mixin(term, `${term.charAt(0).toUpperCase()}${term.slice(1)} instance`, {
    scheme: 'http://schemas.ogf.org/occi/infrastructure/compute/template/1.1#',
    location: `/resource_tpl/${term}/`,
    applies,
    depends: categoryId(resourceTemplate),
    attributes: {
      'occi.compute.cores': withDefault(cores, sizeCores),
      'occi.compute.memory': withDefault(memory, sizeMemory),
      'occi.compute.ephemeral_storage.size': amount('Storage in gigabytes that ends with the instance', {
        mutable: false,
        default: ephemeral,
      }),
    },
  });
}

const sshKey = mixin('ssh_key', 'Credentials', {
  scheme: 'http://schemas.ogf.org/occi/infrastructure/credentials#',
  location: '/compute/ssh_key/',
  applies,
  attributes: {
    'occi.credentials.ssh.publickey': text('Public key that may log in', {
      required: true,
      mutable: false,
      once: true,
    }),
  },
});

const userData = mixin('user_data', 'Contextualization', {
  scheme: 'http://schemas.ogf.org/occi/infrastructure/compute#',
  location: '/compute/user_data/',
  applies,
  attributes: {
    'occi.compute.userdata': text('Data for a new instance', { required: true, mutable: false, once: true }),
  },
});

export const COMPUTE_CATEGORIES: readonly Category[] = [
  compute,
  osTemplate,
  linux,
  resourceTemplate,
  size('small', 1, 1, 10),
  size('medium', 2, 2, 20),
  size('large', 4, 4, 40),
  sshKey,
  userData,
  ...actions,
];
