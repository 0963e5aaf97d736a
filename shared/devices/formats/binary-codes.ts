/**
 * Codes of oBIX in binary (OASIS, "Encodings for OBIX", §3). An object or a facet begins with the byte `M ccccc vv`: M says
 * that a facet follows, c what it is, v how its value is encoded. Codes are given as bytes, without M and v.
 */
import type { Element } from '../objects/elements';

export const MORE = 0x80;
export const CODE = 0x7c;
export const VARIANT = 0x03;

export const OBJECT_CODES: Readonly<Record<Element, number>> = {
  obj: 0x04,
  bool: 0x08,
  int: 0x0c,
  real: 0x10,
  str: 0x14,
  enum: 0x18,
  uri: 0x1c,
  abstime: 0x20,
  reltime: 0x24,
  date: 0x28,
  time: 0x2c,
  list: 0x30,
  op: 0x34,
  feed: 0x38,
  ref: 0x3c,
  err: 0x40,
};
export const CHILDREN_END = 0x44;

export const HAS_CHILDREN = 0x04;
export const FACET_CODES = {
  name: 0x08,
  href: 0x0c,
  is: 0x10,
  of: 0x14,
  in: 0x18,
  out: 0x1c,
  isNull: 0x20,
  icon: 0x24,
  displayName: 0x28,
  display: 0x2c,
  writable: 0x30,
  min: 0x34,
  max: 0x38,
  unit: 0x3c,
  precision: 0x40,
  range: 0x44,
  tz: 0x48,
} as const;
export type BinaryFacet = keyof typeof FACET_CODES;

/** Four statuses in the first code, three in the second; `ok` is not written. */
export const STATUS_0 = 0x4c;
export const STATUS_1 = 0x50;
export const STATUS_CODES = {
  disabled: STATUS_0,
  fault: STATUS_0 | 1,
  down: STATUS_0 | 2,
  unackedAlarm: STATUS_0 | 3,
  alarm: STATUS_1,
  unacked: STATUS_1 | 1,
  overridden: STATUS_1 | 2,
} as const;

/** Seconds from 1970-01-01T00:00:00Z to 2000-01-01T00:00:00Z, from which absolute times count. */
export const EPOCH_S = 946_684_800n;
/** Texts that the table holds: an index has 16 bits. */
export const MAX_TABLE = 0x1_0000;

export interface BinaryFormatOptions {
  /** Whether texts may be in UTF-8, an extension that both sides must have; otherwise they are in ASCII. */
  readonly utf8?: boolean;
}
