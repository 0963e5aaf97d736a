/** How a file is shown over HTTP: its type, its validators, and the range that a client asks for. */
import { CmbsError } from '@cmbs/shared';
import type { FileInfo } from '@cmbs/shared/services/builtin';
import { header, type OcciRequest } from './request';

/** Media types by the end of the name. Other files are bytes. */
const TYPES: Readonly<Record<string, string>> = {
  csv: 'text/csv; charset=utf-8',
  gif: 'image/gif',
  gz: 'application/gzip',
  htm: 'text/html; charset=utf-8',
  html: 'text/html; charset=utf-8',
  jpeg: 'image/jpeg',
  jpg: 'image/jpeg',
  js: 'text/javascript; charset=utf-8',
  json: 'application/json',
  log: 'text/plain; charset=utf-8',
  md: 'text/markdown; charset=utf-8',
  mjs: 'text/javascript; charset=utf-8',
  mp4: 'video/mp4',
  pdf: 'application/pdf',
  png: 'image/png',
  svg: 'image/svg+xml',
  tar: 'application/x-tar',
  txt: 'text/plain; charset=utf-8',
  webp: 'image/webp',
  xhtml: 'application/xhtml+xml',
  xml: 'application/xml',
  yaml: 'application/yaml',
  zip: 'application/zip',
};
const BYTES = 'application/octet-stream';
/** Types that a browser shows without running anything in them. */
const PASSIVE =
  /^(?:text\/(?:plain|csv|markdown)|image\/(?:gif|jpeg|png|webp)|video\/mp4|application\/json)(?:;|$)/;

/**
 * The headers of a file. A file is the text of some caller, and this origin has the credentials of others: browsers
 * save files that could run a script, and run nothing in those that they show.
 */
export function fileHeaders(
  { name, modified }: FileInfo,
  etag: string,
  now: number,
): Readonly<Record<string, string>> {
  const last = name.at(-1) ?? '';
  const dot = last.lastIndexOf('.');
  const ending = dot < 0 ? '' : last.slice(dot + 1).toLowerCase();
  const type = Object.hasOwn(TYPES, ending) ? (TYPES[ending] as string) : BYTES;
  return {
    'Content-Type': type,
    'X-Content-Type-Options': 'nosniff',
    'Content-Security-Policy': "default-src 'none'; sandbox",
    ...(PASSIVE.test(type) ? {} : { 'Content-Disposition': 'attachment' }),
    ETag: etag,
    // A time in the future would be no validator (RFC 9110 §8.8.2.1).
    'Last-Modified': new Date(Math.min(modified, now)).toUTCString(),
    'Accept-Ranges': 'bytes',
    // Rules may change at any time, so a cache asks again; answers are for this caller alone.
    'Cache-Control': 'private, no-cache',
    Vary: 'Authorization',
  };
}

interface Ranged {
  readonly size: number;
  readonly etag: string;
  /** Milliseconds since the epoch. */
  readonly modified: number;
}

/** Bytes from `start` to before `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The range that a GET asks for; undefined for the whole file. Several ranges, other units and text that is no range are
 * ignored, as RFC 9110 §14.2 allows.
 * @throws CmbsError `range_not_satisfiable`
 */
export function rangeOf(request: OcciRequest, file: Ranged, now: number): ByteRange | undefined {
  const text = header(request, 'range');
  if (request.method !== 'GET' || text === undefined || !holdsIfRange(request, file, now)) return undefined;
  const [, from = '', to = ''] = /^bytes=\s*(\d{0,18})-(\d{0,18})\s*$/i.exec(text) ?? [];
  if (from === '' && to === '') return undefined;
  if (from === '') {
    if (Number(to) === 0 || file.size === 0) throw unsatisfiable(file);
    return { start: Math.max(0, file.size - Number(to)), end: file.size };
  }
  const start = Number(from);
  if (to !== '' && Number(to) < start) return undefined;
  if (start >= file.size) throw unsatisfiable(file);
  return { start, end: to === '' ? file.size : Math.min(Number(to) + 1, file.size) };
}

const unsatisfiable = ({ size }: Ranged): CmbsError =>
  new CmbsError('range_not_satisfiable', `The file has ${size} bytes, and the range is outside of them.`, {
    headers: { 'Content-Range': `bytes */${size}` },
  });

/** `If-Range` (RFC 9110 §13.1.5): a strong tag, or the exact time of a file that has not changed for a second. */
function holdsIfRange(request: OcciRequest, { etag, modified }: Ranged, now: number): boolean {
  const validator = header(request, 'if-range')?.trim();
  if (validator === undefined) return true;
  if (validator.startsWith('"')) return validator === etag;
  return validator === new Date(modified).toUTCString() && now - modified >= 1000;
}
