/** oBIX in binary (OASIS, "Encodings for OBIX", §3), as the gateways of IoTSyS write it. */
import { DeviceFormatError, DeviceObjectError } from '../errors';
import type { DeviceObject } from '../objects/object';
import type { DeviceObjects } from '../objects/objects';
import type { BinaryFormatOptions } from './binary-codes';
import { BinaryReader } from './binary-reader';
import { BINARY, BinaryWriter } from './binary-writer';
import { Allowance, type DeviceFormat, inFormat, type ParseOptions } from './format';

/**
 * Does not carry `location`, the offset of times (they are UTC; dates and times of day have none), elements that were
 * registered from outside, characters beyond ASCII (unless `utf8`), and times more than 292 years from 2000.
 *
 * The encoder of IoTSyS forgets to say that facets follow a status. A document that cannot be read as it stands is
 * read once more, with a status followed by facets where the next byte looks like one of those that this encoder writes.
 */
export function binaryFormat(objects: DeviceObjects, options: BinaryFormatOptions = {}): DeviceFormat {
  return {
    name: BINARY,
    mediaTypes: ['application/x-obix-binary'],
    // From drafts of CoAP. Today 51 is application/json-patch+json, which no device sends as its state.
    numbers: [51],
    parse: (bytes, given = {}) => inFormat(BINARY, () => parsed(objects, bytes, options, given)),
    render: (object) => inFormat(BINARY, () => new BinaryWriter(options).write(object)),
  };
}

function parsed(
  objects: DeviceObjects,
  bytes: Uint8Array,
  options: BinaryFormatOptions,
  given: ParseOptions,
): DeviceObject {
  const reader = new BinaryReader(bytes, new Allowance(BINARY, bytes, given), options, 'last');
  try {
    return objects.make(reader.read());
  } catch (thrown) {
    const isWrong = thrown instanceof DeviceFormatError || thrown instanceof DeviceObjectError;
    if (!isWrong || !reader.hasBareStatus) throw thrown;
    try {
      const again = new BinaryReader(bytes, new Allowance(BINARY, bytes, given), options, 'followed');
      return objects.make(again.read());
    } catch {
      // The first error is about the document as it stands.
      throw thrown;
    }
  }
}
