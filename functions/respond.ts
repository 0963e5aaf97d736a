/** Content negotiation, the headers that every answer carries, and errors in the asked rendering. */
import {
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

/** #3; the cloud's front end replaces `Server`, so it is sent under a second name too (DESIGN decision 9). */
export const SERVER = `cmbs/${VERSION} OCCI/1.2 OCCI/1.1`;
const SERVER_HEADERS = {
  Server: SERVER,
  'X-OCCI-Server': SERVER,
  Accept: RENDERINGS.accepted,
  Vary: 'Accept',
} as const;
const HIGHEST = [1, 2] as const;

/** 501 when the client speaks a newer OCCI than this server (#4). */
export function checkVersion(request: OcciRequest): void {
  const asked = /\bOCCI\/(\d{1,4})\.(\d{1,4})/.exec(header(request, 'user-agent') ?? '');
  if (asked === null) return;
  const [major, minor] = [Number(asked[1]), Number(asked[2])];
  if (major > HIGHEST[0] || (major === HIGHEST[0] && minor > HIGHEST[1])) {
    throw new CmbsError('not_implemented', `This server speaks OCCI/1.2 and older, not OCCI/${major}.${minor}.`);
  }
}

const OCCI_HEADERS = ['category', 'x-occi-attribute', 'x-occi-location', 'link'] as const;

/** The parts of a request that decide about renderings. */
type Negotiated = Pick<OcciRequest, 'headers' | 'body' | 'renderings'>;

/** The rendering of the request's payload; undefined for a request without a payload. */
export function requestRendering(request: Negotiated): Rendering | undefined {
  const { renderings } = request;
  const contentType = header(request, 'content-type');
  const inHeaders = OCCI_HEADERS.some((name) => request.headers[name] !== undefined);
  if (contentType === undefined) {
    if (request.body.length > 0) {
      throw new CmbsError(
        'unsupported_media_type',
        `The body needs a Content-Type: one of ${renderings.accepted}.`,
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
      `Bodies of type ${contentType} are not read; send one of ${renderings.accepted}.`,
    );
  }
  return rendering;
}

export function parsePayload(request: OcciRequest): Payload {
  return requestRendering(request)?.parse(request) ?? EMPTY_PAYLOAD;
}

/**
 * The rendering of the answer: what `Accept` prefers; without a preference the body's own type, or text/plain
 * (DESIGN decision 21, #7, #8).
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
      `None of the types in Accept is offered; offered are ${request.renderings.accepted} (application/occi+json also with ;profile=nested or ;profile=gfd226).`,
    );
  }
  return chosen;
}

/**
 * {@link responseRendering} for an answer that shows an entity: a type that cannot is refused before anything is
 * done, so that a refusal changes nothing (#72).
 */
export function entityRendering(request: OcciRequest): Rendering {
  const rendering = responseRendering(request);
  if (rendering.canShowEntity === false) {
    throw new CmbsError('bad_request', `${rendering.mediaTypes[0]} shows collections only; ask for another type.`);
  }
  return rendering;
}

/** `Vary` where headers of text/occi filter what is shown. */
export const FILTERED = 'Accept, Category, X-OCCI-Attribute';

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
 * The type that `Accept` likes best of those that an endpoint has beside the OCCI renderings.
 * @throws CmbsError `not_acceptable`
 */
export function negotiateType<T extends string>(
  request: Pick<OcciRequest, 'headers'>,
  offers: readonly { readonly mediaTypes: readonly [T, ...string[]] }[],
): T {
  const chosen = chooseOffer(request.headers.accept?.join(','), offers);
  if (chosen !== undefined) return chosen.mediaTypes[0];
  const offered = offers.map(({ mediaTypes }) => mediaTypes[0]).join(' and ');
  throw new CmbsError('not_acceptable', `None of the types in Accept is offered here; offered are ${offered}.`);
}

/** An answer in JSON that no OCCI rendering describes (the inbox, health). */
export function answerJson(
  status: number,
  value: unknown,
  extra: Readonly<Record<string, string>> = {},
): OcciResponse {
  return answer(status, { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(value) }, extra);
}

/** Work on many entities: 200 when all of it is done, 202 with how far it is when the same request has to be repeated. */
export function answerProgress(request: OcciRequest, { done, isComplete }: Progress, what: string): OcciResponse {
  const rendered = responseRendering(request).done();
  if (isComplete) return answer(200, rendered);
  return answer(202, rendered, {
    'X-OCCI-Reason': `${done} entities are ${what} and there are more; repeat the request to go on.`,
    'Retry-After': '0',
  });
}

/** Text that may come from anywhere, a peer among them, as the value of a header. */
export const oneLine = (text: string): string => text.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 500);

/** What is told of a request that was obeyed, for a person to read. */
export const noted = (notes: readonly string[]): Readonly<Record<string, string>> =>
  notes.length === 0 ? {} : { 'X-OCCI-Reason': oneLine(notes.join(' ')) };

/** The parts of a request that its refusal depends on. */
export type Refused = Pick<OcciRequest, 'method' | 'path' | 'headers' | 'body' | 'trace' | 'renderings'>;

/** Any thrown value as an answer; what is our fault goes to the log and not to the caller (DESIGN decision 8). */
export function answerError(thrown: unknown, request: Refused | undefined, log: Log): OcciResponse {
  const error = toCmbsError(thrown);
  // What is not offered (501) is no failure of ours, and anybody can ask for it.
  if (error.status >= 500 && error.code !== 'not_implemented') {
    log.error('request failed', {
      code: error.code,
      method: request?.method,
      path: request?.path,
      trace: request?.trace,
      cause: thrown,
    });
  }
  let rendering: Rendering = TEXT_PLAIN;
  try {
    if (request !== undefined) rendering = responseRendering(request);
  } catch {
    // The request's own Accept or Content-Type is what is wrong: text/plain says so.
  }
  return answer(error.status, rendering.error(error), {
    ...(request === undefined ? {} : { Accept: request.renderings.accepted }),
    ...Object.fromEntries(Object.entries(error.headers).map(([name, value]) => [name, oneLine(value)])),
    'X-OCCI-Error': oneLine(error.message),
  });
}
