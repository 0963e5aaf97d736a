/** A codec: calls as a line of text, `call echo.echo a b`. */
import { type Codec, Fault, jsonOf } from '@cmbs/shared/services';
import { stringifyExactJson } from '@cmbs/shared/exact-json';

export const line: Codec = {
  name: 'line',
  decode: (content) => {
    const text = content instanceof Uint8Array ? Buffer.from(content).toString('utf8') : content;
    const [, method, rest = ''] = typeof text === 'string' ? (/^call (\S+)(.*)$/.exec(text) ?? []) : [];
    return method === undefined ? undefined : { method, params: rest.split(' ').filter((word) => word !== '') };
  },
  encode: (_call, outcome) => {
    if (outcome instanceof Fault) return Buffer.from(`fault ${outcome.code}`);
    const words = Array.isArray(outcome) ? outcome : [outcome];
    const texts = words.map((word) => (typeof word === 'string' ? word : stringifyExactJson(jsonOf(word))));
    return Buffer.from(`answer ${texts.join(' ')}`);
  },
};
