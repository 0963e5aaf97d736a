/** Storage and StorageLink (GFD.224 §3.3, §3.4.2), with the further actions of OCCI 1.1 (GFD.184 §3.3). */
import { LINK_KIND, RESOURCE_KIND, type Category } from '../model';
import { action, amount, kind, stateAttributes, text } from './define';

export const SIZE = 'occi.storage.size';
/** The attribute with which `resize` names the new size. */
export const NEW_SIZE = 'size';

export const online = action('storage', 'online', 'Set the storage online');
export const offline = action('storage', 'offline', 'Set the storage offline');
export const backup = action('storage', 'backup', 'Back the storage up');
export const snapshot = action('storage', 'snapshot', 'Take a snapshot of the storage');
export const resize = action('storage', 'resize', 'Change the size of the storage', {
  [NEW_SIZE]: amount('New size in gigabytes', { required: true }),
});
const actions = [online, offline, backup, snapshot, resize];

const storage = kind(
  'storage',
  'Storage Resource',
  RESOURCE_KIND,
  {
    [SIZE]: amount('Size in gigabytes', { required: true }),
    ...stateAttributes('occi.storage', ['online', 'offline', 'error'], 'offline'),
  },
  actions,
);

export const DEVICE_ID = 'occi.storagelink.deviceid';

export const storageLink = kind('storagelink', 'StorageLink Link', LINK_KIND, {
  // It always has a value; the provider chooses one if the client does not.
  [DEVICE_ID]: text('Identifier of the device inside the instance', { schema: { minLength: 1 } }),
  'occi.storagelink.mountpoint': text('Where the storage is mounted'),
  ...stateAttributes('occi.storagelink', ['active', 'inactive', 'error'], 'active'),
});

export const STORAGE_CATEGORIES: readonly Category[] = [storage, storageLink, ...actions];
