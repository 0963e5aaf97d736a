/**
 * `/files/…`: the files of the module `file` over plain HTTP (docs/services.md, "Files"). Reads with ranges (RFC 9110
 * §14), conditions (§13), whole replacement by PUT, and listings in JSON or text.
 */
import { badRequest, CmbsError } from '@cmbs/shared';
import { FILES } from '@cmbs/shared/occi';
import {
  type FileInfo,
  type FileName,
  fileName,
  type GovernedFiles,
  noFiles,
  pathOf,
} from '@cmbs/shared/services/builtin';
import type { App } from '../app';
import { fileHeaders, rangeOf } from '../file-content';
import { checkQuery } from '../occi-context';
import { type Current, requireCurrent, unmodified } from '../preconditions';
import { header, type OcciRequest, type OcciResponse, queryValue } from '../request';
import { answer, negotiateType } from '../respond';

const METHODS = 'GET, HEAD, PUT, DELETE, OPTIONS';
const AS_JSON = { mediaTypes: ['application/json'] } as const;
const AS_TEXT = { mediaTypes: ['text/plain'] } as const;

/** Answers requests for files and directories. */
export async function file(request: OcciRequest, app: App): Promise<OcciResponse> {
  const { files } = app;
  if (files === undefined) throw noFiles();
  const isListing = request.method === 'GET' || request.method === 'HEAD';
  checkQuery(request, app, isListing ? ['number', 'cursor'] : []);
  const text = request.path.slice(FILES.length);
  const name = fileName(text);
  const wantsDirectory = text === '' || text.endsWith('/');
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      return read(request, { files, name, wantsDirectory, app });
    case 'PUT':
      return wantsDirectory ? makeDirectory(request, files, name) : put(request, files, name);
    case 'DELETE':
      await files.remove(request, name, (current) => {
        if (wantsDirectory && current?.type === 'file') throw notFound(request);
        requireCurrent(request, currentOf(current));
      });
      return answer(204, undefined);
    case 'OPTIONS':
      await files.stat(request, name);
      return answer(204, undefined, { Allow: METHODS });
    default:
      throw new CmbsError('method_not_allowed', `${request.method} is not offered for files.`, {
        headers: { Allow: METHODS },
      });
  }
}

const notFound = ({ path }: OcciRequest): CmbsError => new CmbsError('not_found', `There is nothing at ${path}.`);

const etagOf = ({ tag }: FileInfo): string => `"${tag}"`;

/** What conditions are about; directories have no tag. */
function currentOf(info: FileInfo | undefined): Current {
  if (info === undefined) return { isThere: false };
  return info.type === 'directory'
    ? { isThere: true }
    : { isThere: true, etag: etagOf(info), modified: info.modified };
}

interface Read {
  readonly files: GovernedFiles;
  readonly name: FileName;
  readonly wantsDirectory: boolean;
  readonly app: Pick<App, 'clock' | 'log'>;
}

async function read(request: OcciRequest, { files, name, wantsDirectory, app }: Read): Promise<OcciResponse> {
  if (wantsDirectory || (await files.stat(request, name)).type === 'directory') return list(request, files, name);
  const now = app.clock.now();
  const opened = await files.open(request, name);
  try {
    const { info } = opened;
    const current = currentOf(info);
    requireCurrent({ ...request, headers: { ...request.headers, 'if-none-match': [] } }, current);
    const headers = fileHeaders(info, etagOf(info), now);
    if (unmodified(request, current)) {
      await opened.close();
      return answer(304, undefined, headers);
    }
    const range = rangeOf(request, { ...info, etag: etagOf(info) }, now);
    const { start, end } = range ?? { start: 0, end: info.size };
    const partial = range === undefined ? {} : { 'Content-Range': `bytes ${start}-${end - 1}/${info.size}` };
    return {
      ...answer(range === undefined ? 200 : 206, undefined, {
        ...headers,
        ...partial,
        'Content-Length': String(end - start),
      }),
      body: opened.pieces(start, end, request.signal),
      done: () => {
        opened.close().catch((cause: unknown) => app.log.warn('a file was not closed', { cause }));
      },
    };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

function numberOf(request: OcciRequest, most: number): number {
  const text = queryValue(request, 'number');
  if (text === undefined) return most;
  if (/^\d{1,6}$/.test(text) && Number(text) >= 1 && Number(text) <= most) return Number(text);
  throw badRequest(`"number" in the query takes a whole number from 1 to ${most}.`);
}

/** A page of a directory: `{"entries":[…],"next":"…"}`, or one name on each line, with a slash after directories. */
async function list(request: OcciRequest, files: GovernedFiles, name: FileName): Promise<OcciResponse> {
  const type = negotiateType<string>(request, [AS_TEXT, AS_JSON]);
  const after = queryValue(request, 'cursor') ?? '';
  const limit = numberOf(request, files.limits.listedEntries);
  const { entries, next } = await files.list(request, name, { after, limit });
  const headers = {
    'Content-Type': type === 'text/plain' ? 'text/plain; charset=utf-8' : type,
    'Cache-Control': 'no-cache',
    ...(next === undefined
      ? {}
      : {
          Link: `<${urlOf(request, name)}?${new URLSearchParams({ cursor: next, number: String(limit) }).toString()}>; rel="next"`,
        }),
  };
  const body =
    type === 'text/plain'
      ? entries.map((entry) => `${entry.name.at(-1) ?? ''}${entry.type === 'directory' ? '/' : ''}\n`).join('')
      : JSON.stringify({
          entries: entries.map((entry) => ({
            name: entry.name.at(-1) ?? '',
            type: entry.type,
            size: entry.size,
            modified: new Date(entry.modified).toISOString(),
            href: urlOf(request, entry.name, entry.type),
          })),
          ...(next === undefined ? {} : { next }),
        });
  return answer(200, { headers, body });
}

const urlOf = ({ base }: OcciRequest, name: FileName, type: FileInfo['type'] = 'directory'): string =>
  base + pathOf(name, type).split('/').map(encodeURIComponent).join('/');

async function put(request: OcciRequest, files: GovernedFiles, name: FileName): Promise<OcciResponse> {
  // A part of a file under the whole file's name would be lost data (RFC 9110 §14.5).
  if (header(request, 'content-range') !== undefined) {
    throw badRequest('PUT takes the whole file; append to a file with the method file.put and an offset.');
  }
  const { info, isNew } = await files.put(request, name, request.body, (current) =>
    requireCurrent(request, currentOf(current)),
  );
  const headers = { ETag: etagOf(info), 'Last-Modified': new Date(info.modified).toUTCString() };
  return answer(isNew ? 201 : 204, undefined, {
    ...headers,
    ...(isNew ? { Location: urlOf(request, name, 'file') } : {}),
  });
}

async function makeDirectory(request: OcciRequest, files: GovernedFiles, name: FileName): Promise<OcciResponse> {
  const isNew = await files.makeDirectory(request, name, (current) => {
    if (request.body.length > 0)
      throw badRequest('A path that ends with "/" is a directory, which has no content.');
    requireCurrent(request, currentOf(current));
  });
  return answer(isNew ? 201 : 204, undefined, isNew ? { Location: urlOf(request, name) } : {});
}
