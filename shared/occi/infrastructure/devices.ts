/** Values that the provider chooses for links if the client does not (GFD.224 §3.4). */
import { createHash } from 'node:crypto';
import { CmbsError } from '../../errors';
import type { Json } from '../../json';
import { categoryId, type Entity } from '../model';
import { ADDRESS, ALLOCATION, INTERFACE, ipNetworkInterface, MAC, networkInterface } from './network';
import { DEVICE_ID, storageLink } from './storage';

// Derived from the path, so that a repeated transaction and a replacement choose the same values.
const digest = (entity: Entity): Buffer => createHash('sha256').update(entity.path).digest();

/** A locally administered unicast address (IEEE 802: second-lowest bit of the first octet set, lowest bit clear). */
function macAddress(bytes: Buffer): string {
  return ['02', ...Array.from(bytes.subarray(0, 5), (byte) => byte.toString(16).padStart(2, '0'))].join(':');
}

/** An address in 10.0.0.0/8, since there is no network that could assign one. */
function address(bytes: Buffer): string {
  return `10.${bytes.readUInt8(5)}.${bytes.readUInt8(6)}.${1 + (bytes.readUInt8(7) % 254)}`;
}

/**
 * A link with the values of its device. Other entities stay as they are.
 * @throws CmbsError `bad_attribute` for a static interface without an address
 */
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
        // Linux derives this name from the MAC address.
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
