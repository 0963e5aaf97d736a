/** Calls and answers of XML-RPC for tests. */
import { Fault, type Value, xmlRpcProtocol, type XmlRpcOptions } from '@cmbs/shared/services';
import { readCall, type XmlCall } from '../../shared/services/codecs/xml-rpc-reader';
import { writeAnswer, type WriterOptions } from '../../shared/services/codecs/xml-rpc-writer';

/** The document of a call with these parameters, each the content of `<param>`. */
export const callWith = (...params: string[]): string =>
  `<?xml version="1.0"?><methodCall><methodName>trial.m</methodName><params>${params
    .map((param) => `<param>${param}</param>`)
    .join('')}</params></methodCall>`;

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The call in a document, or its fault. */
export function outcomeOf(document: Uint8Array | string, contentType?: string): XmlCall | Fault {
  try {
    return readCall(typeof document === 'string' ? bytes(document) : document, contentType);
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown;
    throw thrown;
  }
}

/** The value in `<value>…</value>`, or the fault of the call with it. */
export function valueOf(value: string): Value | Fault | undefined {
  const outcome = outcomeOf(callWith(value));
  return outcome instanceof Fault ? outcome : outcome.params[0];
}

export function faultCode(outcome: unknown): number | undefined {
  return outcome instanceof Fault ? outcome.code : undefined;
}

/** The `<value>` of an answer. */
export function valueIn(document: string): string | undefined {
  return /<param>(.*)<\/param>/s.exec(document)?.[1];
}

/** The `<value>` that is written for a result. */
export const written = (result: Value, options?: WriterOptions): string | undefined =>
  valueIn(writeAnswer(result, options));

/** The result as a client reads it. */
export function readBack(result: Value, options?: WriterOptions): Value | Fault | undefined {
  const value = written(result, options);
  return value === undefined ? undefined : valueOf(value);
}

/** The code and the text of a fault in an answer; undefined for a result. */
export function faultIn(document: string): { code: number; text: string } | undefined {
  const [, code, text] =
    /^<\?xml version="1\.0" encoding="UTF-8"\?>\n<methodResponse><fault><value><struct><member><name>faultCode<\/name><value><int>(-?\d+)<\/int><\/value><\/member><member><name>faultString<\/name><value><string>([^<]*)<\/string><\/value><\/member><\/struct><\/value><\/fault><\/methodResponse>\n$/.exec(
      document,
    ) ?? [];
  return code === undefined ? undefined : { code: Number(code), text: text ?? '' };
}

/** The fault with which the protocol answers a body without a call. */
export function answeredFault(
  body: Uint8Array,
  contentType?: string,
  options?: XmlRpcOptions,
): { code: number; text: string } | undefined {
  const request = xmlRpcProtocol(options).read(body, contentType);
  if (request.calls.length > 0) return undefined;
  return faultIn(new TextDecoder().decode(request.answer([])));
}
