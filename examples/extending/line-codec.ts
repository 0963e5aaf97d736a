/** A codec: calls as a line of text, `call echo.echo a b`. */
import { type Codec, Fault } from '@cmbs/shared/services';

export const line: Codec = {
  name: 'line',
  decode: (content) => {
    const text = content instanceof Uint8Array ? Buffer.from(content).toString('utf8') : content;
    const [, method, rest = ''] = typeof text === 'string' ? (/^call (\S+)(.*)$/.exec(text) ?? []) : [];
    return method === undefined ? undefined : { method, params: rest.trim().split(' ') };
  },
  encode: (_call, outcome) =>
    Buffer.from(outcome instanceof Fault ? `fault ${outcome.code}` : `answer ${(outcome as string[]).join(' ')}`),
};
