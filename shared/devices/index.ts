/** Devices: the objects that gateways show, and the formats in which they are sent. */
export { DeviceFormatError, DeviceObjectError } from './errors';
export { binaryFormat } from './formats/binary';
export type { BinaryFormatOptions } from './formats/binary-codes';
export {
  type DeviceFormat,
  DeviceFormats,
  FORMAT_LIMITS,
  type FormatLimits,
  MAX_REPORTED,
  type ParseOptions,
  type Unknown,
} from './formats/format';
export { jsonFormat } from './formats/json';
export { linkFormat } from './formats/link-format';
export { senmlCbor } from './formats/senml-cbor';
export { senmlJson } from './formats/senml-json';
export { standardFormats, type StandardFormatOptions } from './formats/standard';
export { xmlFormat, type XmlFormatOptions } from './formats/xml';
export { CONTRACTS } from './objects/contracts';
export { type Element, ELEMENT_NAMES, type Status, STATUSES } from './objects/elements';
export { resolveHref } from './objects/href';
export {
  CLASS_OF_ELEMENT,
  type CommonFacets,
  type ContractClass,
  type ContractFields,
  type CustomClass,
  type CustomObject,
  type DeviceClass,
  type DeviceObject,
  type Draft,
  type OfClass,
  type OfElement,
} from './objects/object';
export {
  defineObject,
  type Defined,
  DeviceObjects,
  MAX_TREE_DEPTH,
  MAX_TREE_OBJECTS,
  type ObjectDefinition,
} from './objects/objects';
export {
  type AbsoluteTime,
  absoluteTimeText,
  type CalendarDate,
  dateText,
  parseAbsoluteTime,
  parseDate,
  parseRelativeTime,
  parseTimeOfDay,
  relativeTimeText,
  type TimeOfDay,
  timeOfDayText,
} from './objects/times';
export { absoluteHrefs, child, childrenOf, descendant, errorText, everyObject } from './objects/tree';
