/** The protocols of remote calls over HTTP: which one a request speaks, and how it is refused in its own format. */
import { CmbsError, type ErrorCode } from '@cmbs/shared';
import type { Rendered } from '@cmbs/shared/occi';
import { Fault, FAULT, jsonRpcProtocol, type RpcProtocol, xmlRpcProtocol } from '@cmbs/shared/services';
import { header, type OcciRequest } from './request';

const JSON_RPC = jsonRpcProtocol();
const XML_RPC = xmlRpcProtocol();

/** Media types of JSON-RPC over the years; Clarens sends `text/json`. */
const JSON_TYPES: ReadonlySet<string> = new Set([
  'application/json',
  'application/json-rpc',
  'application/jsonrequest',
  'text/json',
]);
const XML_TYPES: ReadonlySet<string> = new Set(['text/xml', 'application/xml']);

type Asked = Pick<OcciRequest, 'headers' | 'body'>;

function byType({ headers }: Pick<OcciRequest, 'headers'>): RpcProtocol | undefined {
  const contentType = headers['content-type']?.[0] ?? '';
  const [type = ''] = contentType.split(';', 1);
  const name = type.trim().toLowerCase();
  if (JSON_TYPES.has(name)) return JSON_RPC;
  return XML_TYPES.has(name) ? XML_RPC : undefined;
}

/** Bytes that are looked at for the first one that is no white space. */
const MAX_LEADING_BYTES = 256;

/** By the first character: `<`, also in UTF-16, is XML; a brace or a bracket is JSON. */
function byBody(body: Uint8Array): RpcProtocol | undefined {
  const start = Buffer.from(body.subarray(0, MAX_LEADING_BYTES)).toString('latin1');
  if (/^(?:\xff\xfe|\xfe\xff)/.test(start)) return XML_RPC;
  const [first] = start.replace(/^\xef\xbb\xbf/, '').trimStart();
  if (first === '<') return XML_RPC;
  return first === '{' || first === '[' ? JSON_RPC : undefined;
}

/**
 * The protocol of a request: by its Content-Type, and by the first character of the body where that says nothing, since
 * `curl -d` sends another type.
 * @throws CmbsError `unsupported_media_type`
 */
export function protocolOf(request: Asked): RpcProtocol {
  const protocol = byType(request) ?? byBody(request.body);
  if (protocol !== undefined) return protocol;
  throw new CmbsError(
    'unsupported_media_type',
    'The body is no call; send JSON-RPC as application/json, or XML-RPC as text/xml.',
  );
}

/** Errors about the request itself, before there is a call. */
const OF_REQUEST: ReadonlySet<ErrorCode> = new Set([
  'bad_request',
  'method_not_allowed',
  'too_large',
  'unsupported_media_type',
  'request_timeout',
]);

function faultOf({ code, message }: CmbsError): Fault {
  if (code === 'internal') return new Fault(FAULT.internalError, message);
  if (code === 'deadline_exceeded') return new Fault(FAULT.deadlineExceeded, message, { code });
  return new Fault(OF_REQUEST.has(code) ? FAULT.invalidRequest : FAULT.refused, message, { code });
}

/** The body for a refusal with an HTTP status: a fault in the format of the request; in JSON where the format is open. */
export function refusalBody(error: CmbsError, request: Asked | undefined): Rendered {
  const accepts = request === undefined ? '' : (header(request, 'accept') ?? '');
  const byAccept = /\bxml\b/i.test(accepts) && !/\bjson\b/i.test(accepts) ? XML_RPC : JSON_RPC;
  const protocol = (request && (byType(request) ?? byBody(request.body))) ?? byAccept;
  return {
    headers: { 'Content-Type': protocol.mediaType },
    body: Buffer.from(protocol.refusal(faultOf(error))).toString('utf8'),
  };
}
