/** Content codings (RFC 9110 §8.4.1) of requests and answers of remote calls. */
import { promisify } from 'node:util';
import {
  brotliCompress,
  constants,
  deflate,
  gunzip,
  gzip,
  inflate,
  inflateRaw,
  type InputType,
  type ZlibOptions,
} from 'node:zlib';
import { badRequest, CmbsError } from '@cmbs/shared';
import type { OcciRequest } from './request';

/** Bytes of an inflated body: as much as the formats of calls read. */
const MAX_INFLATED_BYTES = 4 * 1024 * 1024;
/** Bytes of an answer from which compressing it saves a packet. */
const MIN_COMPRESSED_BYTES = 1024;

type Inflate = (body: InputType, options: ZlibOptions) => Promise<Buffer>;
const inflateZlib: Inflate = promisify(inflate);
const inflateAlone: Inflate = promisify(inflateRaw);

/** `deflate` is the zlib format (RFC 1950), but some clients send the deflated bytes alone. */
const inflateEither: Inflate = (body, options) =>
  ((body as Buffer)[0] ?? 0) % 16 === 8 ? inflateZlib(body, options) : inflateAlone(body, options);

const INFLATES: Readonly<Record<string, Inflate>> = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  deflate: inflateEither,
};

/**
 * The body without its content coding. A body that grows beyond the limit is refused when it reaches the limit.
 * @throws CmbsError `unsupported_media_type`, `too_large`, `bad_request`
 */
export async function inflated(
  request: Pick<OcciRequest, 'headers' | 'body'>,
  maxBytes = MAX_INFLATED_BYTES,
): Promise<Buffer> {
  const coding = request.headers['content-encoding']?.join(',').trim().toLowerCase() ?? '';
  if (coding === '' || coding === 'identity' || request.body.length === 0) return request.body;
  const run = Object.hasOwn(INFLATES, coding) ? INFLATES[coding] : undefined;
  if (run === undefined) {
    throw new CmbsError('unsupported_media_type', 'Bodies are sent as they are, or in one of gzip and deflate.', {
      headers: { 'Accept-Encoding': 'gzip, deflate' },
    });
  }
  try {
    return await run(request.body, { maxOutputLength: maxBytes });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new CmbsError('too_large', `An inflated body has ${maxBytes} bytes at most; send less.`);
    }
    throw badRequest(`The body is not in ${coding}, as Content-Encoding says.`, { cause });
  }
}

type Compress = (body: Uint8Array) => Promise<Buffer>;

/** In the order of preference. */
const CODINGS: readonly (readonly [name: string, run: Compress])[] = [
  [
    'br',
    (body) =>
      // Higher qualities take many times as long.
      promisify<InputType, object, Buffer>(brotliCompress)(body, {
        params: { [constants.BROTLI_PARAM_QUALITY]: 4 },
      }),
  ],
  ['gzip', promisify<InputType, Buffer>(gzip)],
  ['deflate', promisify<InputType, Buffer>(deflate)],
];

/** Weights by name, as `Accept-Encoding` says (RFC 9110 §12.5.3). */
function weightsOf(accepted: string): ReadonlyMap<string, number> {
  return new Map(
    accepted
      .toLowerCase()
      .split(',')
      .map((part) => {
        const [name = '', ...parameters] = part.split(';').map((one) => one.trim());
        const q = parameters.find((one) => /^q\s*=/.test(one))?.replace(/^q\s*=\s*/, '') ?? '1';
        return [name === 'x-gzip' ? 'gzip' : name, /^[01](?:\.\d{0,3})?$/.test(q) ? Number(q) : 0];
      }),
  );
}

/** A body in a coding that the client takes. Smaller bodies, and those for other clients, stay as they are. */
export async function compressed(
  request: Pick<OcciRequest, 'headers'>,
  body: Uint8Array,
): Promise<{ readonly body: Uint8Array; readonly coding?: string }> {
  if (body.length < MIN_COMPRESSED_BYTES) return { body };
  const weights = weightsOf(request.headers['accept-encoding']?.join(',') ?? '');
  const weightOf = (name: string): number => weights.get(name) ?? weights.get('*') ?? 0;
  const most = Math.max(...CODINGS.map(([name]) => weightOf(name)));
  const chosen = most > 0 ? CODINGS.find(([name]) => weightOf(name) === most) : undefined;
  if (chosen === undefined) return { body };
  const [coding, run] = chosen;
  return { body: await run(body), coding };
}
