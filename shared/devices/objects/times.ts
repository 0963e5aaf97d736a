/**
 * Times of devices, exact to the nanosecond, in the lexical forms of XML Schema 1.0 Part 2 (§3.2.6 to §3.2.9). A
 * `Date` holds milliseconds and no zone, so none is used.
 */
import { DeviceObjectError, shown } from '../errors';

/** A point in time, and the offset with which it is written. */
export interface AbsoluteTime {
  /** Since 1970-01-01T00:00:00Z, without leap seconds. */
  readonly nanoseconds: bigint;
  /** Minutes east of UTC. */
  readonly offset: number;
}

/** A day of the Gregorian calendar. */
export interface CalendarDate {
  readonly year: number;
  /** 1 to 12. */
  readonly month: number;
  /** Day of the month, from 1. */
  readonly day: number;
  /** Minutes east of UTC; absent where the date has no zone. */
  readonly offset?: number;
}

export interface TimeOfDay {
  /** Since midnight. */
  readonly nanoseconds: bigint;
  /** Minutes east of UTC; absent where the time has no zone. */
  readonly offset?: number;
}

export const SECOND_NS = 1_000_000_000n;
const MINUTE_NS = 60n * SECOND_NS;
const HOUR_NS = 60n * MINUTE_NS;
export const DAY_NS = 24n * HOUR_NS;
/** Minutes; the largest offset of XML Schema is 14 hours. */
const MAX_OFFSET = 14 * 60;
const I64_MIN = -(2n ** 63n);
const I64_MAX = 2n ** 63n - 1n;
/** Digits of a number in a duration. BigInt takes quadratic time for very many. */
const MAX_DIGITS = 19;

/** Whether an integer has 64 bits. */
export const fitsI64 = (value: bigint): boolean => value >= I64_MIN && value <= I64_MAX;

/** Days from 1970-01-01 to a day of the Gregorian calendar. */
function dayNumber(year: number, month: number, day: number): number {
  const years = month > 2 ? year : year - 1;
  const era = Math.floor(years / 400);
  const yearOfEra = years - era * 400;
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1;
  return (
    era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468
  );
}

/** The day of the Gregorian calendar, from days since 1970-01-01. */
function calendarDay(days: number): { year: number; month: number; day: number } {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1,
  };
}

function daysOf(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}

const isWhole = (value: number, from: number, to: number): boolean =>
  Number.isInteger(value) && value >= from && value <= to;
const isOffset = (offset: number): boolean => isWhole(offset, -MAX_OFFSET, MAX_OFFSET);

const floorDivide = (value: bigint, by: bigint): bigint => (value - (((value % by) + by) % by)) / by;

/** Days since 1970-01-01 where the clock shows the time, and nanoseconds since midnight there. */
function local({ nanoseconds, offset }: AbsoluteTime): { days: number; rest: bigint } {
  const there = nanoseconds + BigInt(offset) * MINUTE_NS;
  const days = floorDivide(there, DAY_NS);
  return { days: Number(days), rest: there - days * DAY_NS };
}

/** Bounds of the years 0000 to 9999, in days since 1970-01-01. */
const [FIRST_DAY, LAST_DAY] = [dayNumber(0, 1, 1), dayNumber(9999, 12, 31)];

/** @throws DeviceObjectError for a time outside the years 0000 to 9999, or an offset of more than 14 hours */
export function checkAbsoluteTime(time: AbsoluteTime): AbsoluteTime {
  const { nanoseconds, offset } = time;
  if (typeof nanoseconds !== 'bigint' || !isOffset(offset)) {
    throw new DeviceObjectError(
      'A time has nanoseconds as a bigint, and an offset of at most 14 hours, in minutes.',
    );
  }
  const { days } = local(time);
  if (days < FIRST_DAY || days > LAST_DAY) {
    throw new DeviceObjectError('A time is in one of the years 0000 to 9999.');
  }
  return Object.freeze({ nanoseconds, offset });
}

/** @throws DeviceObjectError for a day that the calendar does not have */
export function checkDate({ year, month, day, offset }: CalendarDate): CalendarDate {
  const exists = isWhole(year, 0, 9999) && isWhole(month, 1, 12) && isWhole(day, 1, daysOf(year, month));
  if (!exists || (offset !== undefined && !isOffset(offset))) {
    throw new DeviceObjectError('A date is a day of the Gregorian calendar in one of the years 0000 to 9999.');
  }
  return Object.freeze({ year, month, day, ...(offset === undefined ? {} : { offset }) });
}

/** @throws DeviceObjectError for a time that is not within a day */
export function checkTimeOfDay({ nanoseconds, offset }: TimeOfDay): TimeOfDay {
  const isOfDay = typeof nanoseconds === 'bigint' && nanoseconds >= 0n && nanoseconds < DAY_NS;
  if (!isOfDay || (offset !== undefined && !isOffset(offset))) {
    throw new DeviceObjectError('A time of day is less than 24 hours, in nanoseconds as a bigint.');
  }
  return Object.freeze({ nanoseconds, ...(offset === undefined ? {} : { offset }) });
}

/** @throws DeviceObjectError for a relative time that does not have 64 bits, in nanoseconds: 292 years */
export function checkRelativeTime(nanoseconds: bigint): bigint {
  if (typeof nanoseconds === 'bigint' && fitsI64(nanoseconds)) return nanoseconds;
  throw new DeviceObjectError('A relative time is a number of nanoseconds of 64 bits, as a bigint.');
}

const ZONE = '(Z|[+-]\\d\\d:\\d\\d)';
const DAY = '(\\d{4})-(\\d\\d)-(\\d\\d)';
const CLOCK = '(\\d\\d):(\\d\\d):(\\d\\d)(?:\\.(\\d+))?';
const ABSOLUTE = new RegExp(`^${DAY}T${CLOCK}${ZONE}$`);
const DATE = new RegExp(`^${DAY}${ZONE}?$`);
const TIME = new RegExp(`^${CLOCK}${ZONE}?$`);
const DURATION = /^(-?)P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?(?:(T)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d+))?S)?)?$/;

/** Minutes east of UTC; undefined for a zone that does not exist. */
function offsetOf(zone: string): number | undefined {
  if (zone === 'Z') return 0;
  const [hours, minutes] = [Number(zone.slice(1, 3)), Number(zone.slice(4, 6))];
  const offset = (hours * 60 + minutes) * (zone.startsWith('-') ? -1 : 1);
  return minutes < 60 && isOffset(offset) ? offset : undefined;
}

/** Nanoseconds of the digits after the point; undefined where nanoseconds do not hold them. */
function fractionOf(digits: string): bigint | undefined {
  return /[1-9]/.test(digits.slice(9)) ? undefined : BigInt(digits.slice(0, 9).padEnd(9, '0'));
}

/** Nanoseconds since midnight, at most one day; undefined for no time. 24:00:00 and 23:59:60 are the next midnight. */
function clockOf([hour, minute, second, fraction = '0']: readonly (string | undefined)[]): bigint | undefined {
  const nanoseconds = fractionOf(fraction);
  if (nanoseconds === undefined || Number(minute) > 59) return undefined;
  const total = Number(hour) * 3600 + Number(minute) * 60 + Number(second);
  if (Number(second) > 59 && total !== 86_400) return undefined;
  const clock = BigInt(total) * SECOND_NS + nanoseconds;
  return clock <= DAY_NS ? clock : undefined;
}

const noTime = (text: string, what: string): DeviceObjectError =>
  new DeviceObjectError(`${shown(text)} is no ${what}.`);

/**
 * A time with its zone, such as `2013-03-31T15:37:22.076+02:00`. A time without zone is refused: nobody knows when it is.
 * @throws DeviceObjectError, also for digits beyond nanoseconds
 */
export function parseAbsoluteTime(text: string): AbsoluteTime {
  const [, year, month, day, hour, minute, second, fraction, zone = ''] = ABSOLUTE.exec(text) ?? [];
  const clock = year === undefined ? undefined : clockOf([hour, minute, second, fraction]);
  const offset = offsetOf(zone);
  if (clock === undefined || offset === undefined) {
    throw noTime(text, 'time with a zone, such as 2013-03-31T15:37:22.076+02:00');
  }
  const date = checkDate({ year: Number(year), month: Number(month), day: Number(day) });
  const days = BigInt(dayNumber(date.year, date.month, date.day));
  return checkAbsoluteTime({ nanoseconds: days * DAY_NS + clock - BigInt(offset) * MINUTE_NS, offset });
}

/** @throws DeviceObjectError */
export function parseDate(text: string): CalendarDate {
  const [, year, month, day, zone] = DATE.exec(text) ?? [];
  const offset = zone === undefined ? undefined : offsetOf(zone);
  if (year === undefined || (zone !== undefined && offset === undefined)) {
    throw noTime(text, 'date, such as 2013-09-13');
  }
  const date = { year: Number(year), month: Number(month), day: Number(day) };
  return checkDate(offset === undefined ? date : { ...date, offset });
}

/** @throws DeviceObjectError, also for digits beyond nanoseconds */
export function parseTimeOfDay(text: string): TimeOfDay {
  const [, hour, minute, second, fraction, zone] = TIME.exec(text) ?? [];
  const clock = hour === undefined ? undefined : clockOf([hour, minute, second, fraction]);
  const offset = zone === undefined ? undefined : offsetOf(zone);
  if (clock === undefined || (zone !== undefined && offset === undefined)) {
    throw noTime(text, 'time of day, such as 13:30:15');
  }
  const nanoseconds = clock % DAY_NS;
  return checkTimeOfDay(offset === undefined ? { nanoseconds } : { nanoseconds, offset });
}

/**
 * Nanoseconds of a duration, such as `PT1M0.5S`. Years and months have no fixed length, so only 0 of them is taken.
 * @throws DeviceObjectError, also for digits beyond nanoseconds, and for more than 292 years
 */
export function parseRelativeTime(text: string): bigint {
  const [, sign, years, months, days, clock, hours, minutes, seconds, fraction = '0'] = DURATION.exec(text) ?? [];
  const parts = [days, hours, minutes, seconds];
  const isComplete = [years, months, ...parts].some((part) => part !== undefined);
  const isClock = clock === undefined || [hours, minutes, seconds].some((part) => part !== undefined);
  const isShort = parts.every((part = '') => part.length <= MAX_DIGITS);
  const nanoseconds = fractionOf(fraction);
  if (!isComplete || !isClock || !isShort || nanoseconds === undefined) {
    throw noTime(text, 'duration in days, hours, minutes and seconds, such as PT60S');
  }
  if ([years, months].some((part = '') => /[1-9]/.test(part))) {
    throw new DeviceObjectError(`${shown(text)} has years or months, whose length is not fixed.`);
  }
  const [inDays = 0n, inHours = 0n, inMinutes = 0n, inSeconds = 0n] = parts.map((part = '0') => BigInt(part));
  const total = inDays * DAY_NS + inHours * HOUR_NS + inMinutes * MINUTE_NS + inSeconds * SECOND_NS + nanoseconds;
  return checkRelativeTime(sign === '-' ? -total : total);
}

const padded = (value: number | bigint, digits: number): string => String(value).padStart(digits, '0');

function zoneText(offset: number | undefined): string {
  if (offset === undefined) return '';
  if (offset === 0) return 'Z';
  const minutes = Math.abs(offset);
  return `${offset < 0 ? '-' : '+'}${padded(Math.floor(minutes / 60), 2)}:${padded(minutes % 60, 2)}`;
}

/** Digits after the point, with the point: `least`, or as many of 3, 6 and 9 as the nanoseconds need. */
function fractionText(nanoseconds: bigint, least: 0 | 3): string {
  const digits = padded(nanoseconds, 9);
  if (nanoseconds === 0n && least === 0) return '';
  if (digits.endsWith('000000')) return `.${digits.slice(0, 3)}`;
  return `.${digits.endsWith('000') ? digits.slice(0, 6) : digits}`;
}

function clockText(nanoseconds: bigint, least: 0 | 3): string {
  const seconds = Number(nanoseconds / SECOND_NS);
  const clock = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return clock.map((part) => padded(part, 2)).join(':') + fractionText(nanoseconds % SECOND_NS, least);
}

const dayText = ({ year, month, day }: { year: number; month: number; day: number }): string =>
  `${padded(year, 4)}-${padded(month, 2)}-${padded(day, 2)}`;

/** With milliseconds at least, as gateways write it: `2013-03-31T15:37:22.076+02:00`. */
export function absoluteTimeText(time: AbsoluteTime): string {
  const { days, rest } = local(time);
  return `${dayText(calendarDay(days))}T${clockText(rest, 3)}${zoneText(time.offset)}`;
}

export const dateText = (date: CalendarDate): string => dayText(date) + zoneText(date.offset);

export const timeOfDayText = ({ nanoseconds, offset }: TimeOfDay): string =>
  clockText(nanoseconds, 0) + zoneText(offset);

/** In seconds, as gateways write it: `PT60S`. */
export function relativeTimeText(nanoseconds: bigint): string {
  const length = nanoseconds < 0n ? -nanoseconds : nanoseconds;
  const fraction = padded(length % SECOND_NS, 9).replace(/0+$/, '');
  return `${nanoseconds < 0n ? '-' : ''}PT${length / SECOND_NS}${fraction === '' ? '' : `.${fraction}`}S`;
}
