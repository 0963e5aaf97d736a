/** Content negotiation, the headers that every answer carries, and errors in the asked rendering. */
import {
  type Noted,
  chooseOffer,
  EMPTY_PAYLOAD,
  parseMediaType,
  type Payload,
  type Progress,
  type Rendered,
  type Rendering,
  RENDERINGS,
  TEXT_PLAIN,
} from '@cmbs/shared/occi';
import { CmbsError, toCmbsError, VERSION, type Log } from '@cmbs/shared';
import { header, type OcciRequest, type OcciResponse } from './request';

/** Names the versions of OCCI on every answer. Google's front end replaces `Server`, so a second header has it too. */
export const SERVER = `cmbs/${VERSION} OCCI/1.2 OCCI/1.1`;
const SERVER_HEADERS = {
  Server: SERVER,
  'X-OCCI-Server': SERVER,
  Accept: RENDERINGS.accepted,
  Vary: 'Accept',
} as const;
const HIGHEST = [1, 2] as const;

/**
 * @throws CmbsError `not_implemented` (501) when `User-Agent` asks for a newer version of OCCI than this server has
 */
export function checkVersion(request: OcciRequest): void {
  const asked = /\bOCCI\/(\d{1,4})\.(\d{1,4})/.exec(header(request, 'user-agent') ?? '');
  if (asked === null) return;
  const [major, minor] = [Number(asked[1]), Number(asked[2])];
  if (major > HIGHEST[0] || (major === HIGHEST[0] && minor > HIGHEST[1])) {
    throw new CmbsError(
      'not_implemented',
      `This server speaks OCCI/1.2 and older, not OCCI/${major}.${minor}; ask for OCCI/1.2.`,
    );
  }
}

const OCCI_HEADERS = ['category', 'x-occi-attribute', 'x-occi-location', 'link'] as const;

/** The parts of a request that select its renderings. */
type Negotiated = Pick<OcciRequest, 'headers' | 'body' | 'renderings'>;

/**
 * The rendering of the request's payload; undefined for a request without a payload.
 * @throws CmbsError `unsupported_media_type`, `bad_request`
 */
export function requestRendering(request: Negotiated): Rendering | undefined {
  const { renderings } = request;
  const contentType = header(request, 'content-type');
  const inHeaders = OCCI_HEADERS.some((name) => request.headers[name] !== undefined);
  if (contentType === undefined) {
    if (request.body.length > 0) {
      throw new CmbsError(
        'unsupported_media_type',
        `The body has no Content-Type; send one of ${renderings.accepted}.`,
      );
    }
    return inHeaders ? renderings.ofHeaders : undefined;
  }
  const isKnown = (name: string): boolean => renderings.named(name) !== undefined;
  const { type, parameters } = parseMediaType(contentType, isKnown);
  const rendering = renderings.named(type, parameters.get('profile'));
  if (rendering?.readsHeaders === true) return rendering;
  if (request.body.length === 0) return inHeaders ? renderings.ofHeaders : undefined;
  if (rendering === undefined) {
    throw new CmbsError(
      'unsupported_media_type',
      `Bodies of type ${contentType} are not accepted; send one of ${renderings.accepted}.`,
    );
  }
  return rendering;
}

/** @throws CmbsError as {@link requestRendering}, and as the rendering's `parse` */
export function parsePayload(request: OcciRequest): Payload {
  return requestRendering(request)?.parse(request) ?? EMPTY_PAYLOAD;
}

/**
 * The rendering that `Accept` prefers; without a preference the type of the request's body, or text/plain (docs/occi.md).
 * @throws CmbsError `not_acceptable`, `bad_request`
 */
export function responseRendering(request: Negotiated): Rendering {
  const accept = request.headers.accept?.join(',');
  const fallback = (): Rendering =>
    (request.body.length > 0 ? requestRendering(request) : undefined) ?? TEXT_PLAIN;
  if (accept === undefined || accept.trim() === '' || accept.trim() === '*/*') return fallback();
  const chosen = request.renderings.negotiate(accept, fallback);
  if (chosen === undefined) {
    throw new CmbsError(
      'not_acceptable',
      `None of the types in Accept is offered; ask for one of ${request.renderings.accepted} (application/occi+json also with ;profile=nested or ;profile=gfd226).`,
    );
  }
  return chosen;
}

/**
 * {@link responseRendering} for an answer that shows an entity. A type that cannot show one is refused before the request
 * changes anything.
 * @throws CmbsError as {@link responseRendering}
 */
export function entityRendering(request: OcciRequest): Rendering {
  const rendering = responseRendering(request);
  if (rendering.canShowEntity === false) {
    throw new CmbsError(
      'bad_request',
      `${rendering.mediaTypes[0]} shows collections only; ask for another type in Accept.`,
    );
  }
  return rendering;
}

/** `Vary` of answers that the headers of text/occi filter. */
export const FILTERED = 'Accept, Category, X-OCCI-Attribute';

/** An answer with the headers of every answer. @param extra further headers, which take precedence */
export function answer(
  status: number,
  rendered: Rendered | undefined,
  extra: Readonly<Record<string, string>> = {},
): OcciResponse {
  return {
    status,
    headers: { ...SERVER_HEADERS, ...rendered?.headers, ...extra },
    body: rendered?.body ?? '',
  };
}

/**
 * The type that `Accept` prefers among those of an endpoint that has no OCCI rendering.
 * @throws CmbsError `not_acceptable`
 */
export function negotiateType<T extends string>(
  request: Pick<OcciRequest, 'headers'>,
  offers: readonly { readonly mediaTypes: readonly [T, ...string[]] }[],
): T {
  const chosen = chooseOffer(request.headers.accept?.join(','), offers);
  if (chosen !== undefined) return chosen.mediaTypes[0];
  const offered = offers.map(({ mediaTypes }) => mediaTypes[0]).join(' or ');
  throw new CmbsError('not_acceptable', `None of the types in Accept is offered here; ask for ${offered}.`);
}

/** An answer in JSON of an endpoint that has no OCCI rendering, such as the inbox. */
export function answerJson(
  status: number,
  value: unknown,
  extra: Readonly<Record<string, string>> = {},
): OcciResponse {
  return answer(status, { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(value) }, extra);
}

/** The answer to work on many entities: 200 when all is done, 202 when the client has to repeat the request. */
export function answerProgress(
  request: OcciRequest,
  { done, isComplete, refused = 0 }: Progress,
  what: string,
): OcciResponse {
  const rendered = responseRendering(request).done();
  const left = refused === 0 ? [] : [`Not ${what}, because you may not do that to these entities: ${refused}.`];
  if (isComplete) return answer(200, rendered, noted(left));
  const more = `${done} entities are ${what} and there may be more; repeat the request to continue.`;
  return answer(202, rendered, { ...noted([more, ...left]), 'Retry-After': '0' });
}

/** Makes untrusted text, such as that of a peer, safe as the value of a header. */
export const oneLine = (text: string): string => text.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 500);

/** Remarks about a request that succeeded, for a person to read. */
export const noted = (notes: readonly string[]): Readonly<Record<string, string>> =>
  notes.length === 0 ? {} : { 'X-OCCI-Reason': oneLine(notes.join(' ')) };

/** Remarks, and the secrets that this answer alone shows, in the order of the entities' paths (docs/access.md). */
export function remarked({ notes, secrets }: Noted): Readonly<Record<string, string>> {
  const shown = Object.entries(secrets ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  if (shown.length === 0) return noted(notes);
  const tokens = shown.map(([, secret]) => secret).join(', ');
  return { ...noted(notes), 'CMBS-Token': tokens, 'Cache-Control': 'no-store' };
}

/** The parts of a request that the answer to its failure depends on. */
export type Refused = Pick<OcciRequest, 'method' | 'path' | 'headers' | 'body' | 'trace' | 'renderings'>;

/** The body for an error at an endpoint that has no OCCI rendering. */
export type ErrorBody = (error: CmbsError, request: Refused | undefined) => Rendered;

/** In the rendering that the request prefers. */
const occiErrorBody: ErrorBody = (error, request) => {
  let rendering: Rendering = TEXT_PLAIN;
  try {
    if (request !== undefined) rendering = responseRendering(request);
  } catch {
    // The request's Accept or Content-Type is not valid, so the answer is in text/plain.
  }
  return rendering.error(error);
};

/** The answer for any thrown value. The cause of an internal error is in the log only. */
export function answerError(
  thrown: unknown,
  request: Refused | undefined,
  log: Log,
  bodyOf: ErrorBody = occiErrorBody,
): OcciResponse {
  const error = toCmbsError(thrown);
  // Clients can ask for a feature that is not offered (501) at any time; that is no failure.
  if (error.status >= 500 && error.code !== 'not_implemented') {
    log.error('request failed', {
      code: error.code,
      method: request?.method,
      path: request?.path,
      trace: request?.trace,
      cause: thrown,
    });
  }
  return answer(error.status, bodyOf(error, request), {
    ...(request === undefined ? {} : { Accept: request.renderings.accepted }),
    ...Object.fromEntries(Object.entries(error.headers).map(([name, value]) => [name, oneLine(value)])),
    'X-OCCI-Error': oneLine(error.message),
  });
}
