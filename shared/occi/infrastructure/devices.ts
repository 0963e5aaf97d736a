/** Values that the standard has the provider choose for links (GFD.224 §3.4), where the client did not. */
import { createHash } from 'node:crypto';
import { CmbsError } from '../../errors';
import type { Json } from '../../json';
import { categoryId, type Entity } from '../model';
import { ADDRESS, ALLOCATION, INTERFACE, ipNetworkInterface, MAC, networkInterface } from './network';
import { DEVICE_ID, storageLink } from './storage';

// Derived from the path, so that a transaction that runs again and a replacement choose the same ones.
const digest = (entity: Entity): Buffer => createHash('sha256').update(entity.path).digest();

/** Locally administered and unicast (IEEE 802: second-least bit of the first octet set, least bit clear). */
function macAddress(bytes: Buffer): string {
  return ['02', ...Array.from(bytes.subarray(0, 5), (byte) => byte.toString(16).padStart(2, '0'))].join(':');
}

/** Somewhere in 10.0.0.0/8: there is no network behind it that could be asked. */
function address(bytes: Buffer): string {
  return `10.${bytes.readUInt8(5)}.${bytes.readUInt8(6)}.${1 + (bytes.readUInt8(7) % 254)}`;
}

/** The link with a device; other entities as they are. Throws `bad_attribute` for a static interface without address. */
export function withDevice(entity: Entity): Entity {
  const { attributes } = entity;
  switch (entity.kind) {
    case categoryId(storageLink): {
      const deviceId = `/dev/disk/by-id/virtio-${digest(entity).toString('hex', 0, 8)}`;
      return { ...entity, attributes: { [DEVICE_ID]: deviceId, ...attributes } };
    }
    case categoryId(networkInterface): {
      const bytes = digest(entity);
      const given = attributes[MAC];
      const mac = typeof given === 'string' ? given : macAddress(bytes);
      const chosen: Record<string, Json> = {
        [MAC]: mac,
        // The name that Linux gives a device by its MAC address.
        [INTERFACE]: `enx${mac.replaceAll(':', '').toLowerCase()}`,
      };
      if (entity.mixins.includes(categoryId(ipNetworkInterface)) && attributes[ADDRESS] === undefined) {
        if (attributes[ALLOCATION] === 'static') {
          throw new CmbsError('bad_attribute', `${ADDRESS} is required when ${ALLOCATION} is "static".`);
        }
        chosen[ADDRESS] = address(bytes);
      }
      return { ...entity, attributes: { ...chosen, ...attributes } };
    }
    default:
      return entity;
  }
}
