/** Reads the `Content-Type` and `Accept` headers (RFC 9110 §8.3, §12.5.1) and chooses a rendering by them. */
import { badRequest, CmbsError } from '../../errors';

export interface MediaType {
  /** Type and subtype in lower case, for example `text/occi`. */
  readonly type: string;
  /** Names in lower case, values as given. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** One element of `Accept`. */
export interface MediaRange {
  /** `type/subtype`, `type/*` or `*\/*`, in lower case. */
  readonly type: string;
  /** 0 (never) to 1. */
  readonly quality: number;
  readonly profile?: string;
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const TYPE = new RegExp(`^${TOKEN}/${TOKEN}$`);
const PARAMETER = new RegExp(`^(${TOKEN})=(${TOKEN}|"(?:[^"\\\\]|\\\\.)*")$`);

/**
 * The media type that a `Content-Type` header names. Some OCCI clients send a list (`text/plain,text/occi`): then it is the
 * first known type, or the first type if none is known.
 * @throws CmbsError `unsupported_media_type` when the header is malformed or names a charset other than UTF-8
 */
export function parseMediaType(header: string, isKnown: (type: string) => boolean = () => true): MediaType {
  const all = splitOutsideQuotes(header, ',').map(readMediaType);
  const mediaType = all.find((one) => one !== undefined && isKnown(one.type)) ?? all[0];
  if (mediaType === undefined) {
    throw new CmbsError(
      'unsupported_media_type',
      'The Content-Type header is malformed; send for example text/plain.',
    );
  }
  const charset = mediaType.parameters.get('charset')?.toLowerCase();
  if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8') {
    throw new CmbsError('unsupported_media_type', 'Only the charset utf-8 is supported; send the body in UTF-8.');
  }
  return mediaType;
}

/** One media type with its parameters; undefined when it is malformed. */
function readMediaType(text: string): MediaType | undefined {
  const [type = '', ...rest] = splitOutsideQuotes(text, ';');
  if (!TYPE.test(type)) return undefined;
  const parameters = new Map<string, string>();
  for (const part of rest) {
    // RFC 9110 §5.6.6 allows empty parameters.
    if (part === '') continue;
    const [, key, value] = PARAMETER.exec(part) ?? [];
    if (key === undefined || value === undefined) return undefined;
    parameters.set(key.toLowerCase(), unquote(value));
  }
  return { type: type.toLowerCase(), parameters };
}

/**
 * The ranges of an `Accept` header in their order. Malformed elements are skipped, because widespread clients send some.
 * Java's `*; q=.2` is understood.
 * @throws CmbsError `bad_request` if every element is malformed
 */
export function parseAccept(header: string): MediaRange[] {
  const elements = splitOutsideQuotes(header, ',').filter((element) => element !== '');
  const ranges: MediaRange[] = [];
  for (const element of elements) {
    const range = parseRange(element);
    if (range !== undefined) ranges.push(range);
  }
  if (elements.length > 0 && ranges.length === 0) {
    throw badRequest('The Accept header is malformed; send for example text/plain or application/json.');
  }
  return ranges;
}

function parseRange(element: string): MediaRange | undefined {
  const mediaType = readMediaType(element.replace(/^\*(?=\s*(?:;|$))/, '*/*'));
  if (mediaType === undefined) return undefined;
  const { type, parameters } = mediaType;
  if (type.startsWith('*/') && type !== '*/*') return undefined;
  const q = parameters.get('q') ?? '1';
  const profile = parameters.get('profile');
  const quality = /^(?:\d+\.?\d*|\.\d+)$/.test(q) ? Number(q) : Infinity;
  if (quality > 1) return undefined;
  return { type, quality, ...(profile === undefined ? {} : { profile }) };
}

const EXACT = 2;
const PROFILED = 3;

/** How much a client prefers one media type. {@link comparePreference} orders them. */
interface Preference {
  readonly quality: number;
  /** {@link PROFILED}, {@link EXACT}, 1 for `type/*`, 0 for `*\/*`. */
  readonly specificity: number;
  /** Index of the range in the header. */
  readonly position: number;
}

/** `profile`: the profile on offer, if the type has several; `by category` is for ranges without a profile. */
interface Offered {
  readonly mediaTypes: readonly string[];
  readonly profile?: string;
}

/**
 * The offer that the client prefers; undefined if it accepts none. The most specific range that fits an offer decides the
 * offer's quality. Among equal qualities the more specific range wins, then the earlier range, then the earlier offer. An
 * absent or empty header accepts everything.
 * @throws CmbsError `bad_request` if every element of the header is malformed
 */
export function chooseOffer<Offer extends Offered>(
  accept: string | undefined,
  offers: readonly Offer[],
): Offer | undefined {
  const ranges = parseAccept(accept ?? '');
  if (ranges.length === 0) return offers[0];
  let best: { readonly offer: Offer; readonly preference: Preference } | undefined;
  for (const offer of offers) {
    for (const name of offer.mediaTypes) {
      const preference = preferenceFor(name, offer.profile, ranges);
      if (preference === undefined || preference.quality === 0) continue;
      // Only a client that names an alias gets it; answers name the first type.
      if (name !== offer.mediaTypes[0] && preference.specificity < EXACT) continue;
      if (best === undefined || comparePreference(preference, best.preference) > 0) best = { offer, preference };
    }
  }
  return best?.offer;
}

function preferenceFor(
  name: string,
  profile: string | undefined,
  ranges: readonly MediaRange[],
): Preference | undefined {
  let found: Preference | undefined;
  ranges.forEach((range, position) => {
    // Types without profiles ignore the parameter.
    const isProfiled = profile !== undefined && range.profile !== undefined;
    if (isProfiled && range.profile !== profile) return;
    const matched = specificityOf(range.type, name);
    const specificity = matched === EXACT && isProfiled ? PROFILED : matched;
    if (specificity === undefined || (found !== undefined && specificity <= found.specificity)) return;
    found = { quality: range.quality, specificity, position };
  });
  return found;
}

function specificityOf(range: string, name: string): number | undefined {
  if (range === name) return EXACT;
  if (range === '*/*') return 0;
  return range.endsWith('/*') && name.startsWith(range.slice(0, -1)) ? 1 : undefined;
}

/** Positive if the client prefers `a` to `b`. */
function comparePreference(a: Preference, b: Preference): number {
  const byType = Math.min(a.specificity, EXACT) - Math.min(b.specificity, EXACT);
  return a.quality - b.quality || byType || b.position - a.position;
}

/** Splits at separators outside quoted strings, and trims the parts. */
function splitOutsideQuotes(text: string, separator: ',' | ';'): string[] {
  const parts: string[] = [];
  let start = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '"') quoted = !quoted;
    else if (char === '\\' && quoted) at++;
    else if (char === separator && !quoted) {
      parts.push(text.slice(start, at).trim());
      start = at + 1;
    }
  }
  parts.push(text.slice(start).trim());
  return parts;
}

function unquote(value: string): string {
  return value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value;
}
