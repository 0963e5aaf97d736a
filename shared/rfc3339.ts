/** Times in the form of RFC 3339 §5.6. */

const TIME = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d+))?(?:Z|([+-])(\d{2}):(\d{2}))$/i;
const MINUTE_MS = 60_000;

/** Milliseconds since the epoch; undefined for text that is not an existing date and time. */
export function parseRfc3339(text: string): number | undefined {
  const parts = TIME.exec(text);
  if (parts === null) return undefined;
  const [year, month, day, hour, minute, second] = parts.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const [offsetHours, offsetMinutes] = [Number(parts[9] ?? 0), Number(parts[10] ?? 0)];
  if (month < 1 || month > 12 || day < 1 || day > daysOf(year, month)) return undefined;
  if (hour > 23 || minute > 59 || second > 60 || offsetHours > 23 || offsetMinutes > 59) return undefined;
  const offset = (offsetHours * 60 + offsetMinutes) * (parts[8] === '-' ? -1 : 1);
  const fraction = Math.floor(Number(`0.${parts[7] ?? '0'}`) * 1000);
  const date = new Date(0);
  // Date.UTC would add 1900 to years below 100.
  date.setUTCFullYear(year, month - 1, day);
  const time = date.getTime() + ((hour * 60 + minute) * 60 + second) * 1000 + fraction - offset * MINUTE_MS;
  // A leap second is the last second of a month, in UTC (§5.7).
  return second === 60 && !isEndOfMonth(time) ? undefined : time;
}

const daysOf = (year: number, month: number): number => {
  const next = new Date(0);
  next.setUTCFullYear(year, month, 0);
  return next.getUTCDate();
};

function isEndOfMonth(time: number): boolean {
  const date = new Date(time);
  return date.getUTCDate() === 1 && date.getUTCHours() === 0 && date.getUTCMinutes() === 0;
}

/** A time that an earlier release or a peer wrote, in any form that JavaScript reads; NaN for other text. */
export const lenientTime = (text: string): number => parseRfc3339(text) ?? Date.parse(text);
