/** The formats of this program. */
import type { DeviceObjects } from '../objects/objects';
import { binaryFormat } from './binary';
import type { BinaryFormatOptions } from './binary-codes';
import type { DeviceFormat } from './format';
import { jsonFormat } from './json';
import { linkFormat } from './link-format';
import { senmlCbor } from './senml-cbor';
import { senmlJson } from './senml-json';
import { xmlFormat, type XmlFormatOptions } from './xml';

export interface StandardFormatOptions {
  readonly xml?: XmlFormatOptions;
  readonly binary?: BinaryFormatOptions;
}

/** @param objects the classes of the objects that the formats read */
export const standardFormats = (
  objects: DeviceObjects,
  { xml, binary }: StandardFormatOptions = {},
): readonly DeviceFormat[] => [
  xmlFormat(objects, xml),
  binaryFormat(objects, binary),
  linkFormat(objects),
  jsonFormat(objects),
  senmlJson(objects),
  senmlCbor(objects),
];
