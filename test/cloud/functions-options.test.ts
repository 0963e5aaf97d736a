/** A program that assembles the functions can add its own authorization, renderings, services and codecs. */
import { startCloudFunctions, type CloudFunctions } from '@cmbs/emulator/cloud';
import { CmbsError, silentLog, type Authorize, type JsonObject } from '@cmbs/shared';
import { type Rendering, STANDARD_RENDERINGS } from '@cmbs/shared/occi';
import type { ServiceModule } from '@cmbs/shared/services';
import { line } from '../../examples/extending/line-codec';
import { PATIENCE_MS } from '../patience';
import { cloudEnvironment, configOf } from './deployment';
import { describeOnEmulators } from './support';

const CMBS = 'http://houssem.org/cmbs#';
const OWN_TYPE = 'text/x-own';

const plain = STANDARD_RENDERINGS.find(({ mediaTypes }) => mediaTypes[0] === 'text/plain')!;
const own: Rendering = {
  ...plain,
  mediaTypes: [OWN_TYPE],
  entity: ({ entity }) => ({ headers: { 'Content-Type': OWN_TYPE }, body: `own ${entity.path}` }),
};

const weather: ServiceModule = {
  name: 'weather',
  methods: {
    forecast: { documentation: 'Tells the weather.', signatures: [['array']], call: () => ['sun'] },
  },
};

describeOnEmulators('functions assembled by a program', (hosts) => {
  const asked: string[] = [];
  let denied: string | undefined;
  const authorize: Authorize = ({ kind }, operation, { path }) => {
    asked.push(`${kind} ${operation} ${path}`);
    return operation === denied ? Promise.reject(new CmbsError('forbidden', 'No.')) : Promise.resolve();
  };
  let functions: CloudFunctions;

  beforeAll(async () => {
    const config = configOf(
      await cloudEnvironment(hosts, { CMBS_TOPIC_DELIVERY: 'push', CMBS_PUSH_URL: 'http://127.0.0.1:9' }),
    );
    functions = await startCloudFunctions({
      config,
      log: silentLog,
      authorize,
      renderings: [own],
      services: [weather],
      codecs: [line],
    });
    await ask('PUT', '/cmbs/member/bob', {
      kind: `${CMBS}member`,
      attributes: { 'cmbs.member.topics': ['news'], 'cmbs.member.start': ['l32'] },
    });
  });
  afterAll(() => functions.close());
  beforeEach(() => {
    asked.length = 0;
    denied = undefined;
  });

  const ask = (
    method: string,
    target: string,
    body?: JsonObject,
    accept = 'application/json',
  ): Promise<Response> =>
    fetch(functions.url + target, {
      method,
      headers: { Accept: accept, 'Content-Type': 'application/json' },
      signal: AbortSignal.timeout(PATIENCE_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });

  const push = async (id: string, content: string): Promise<number> => {
    const message = {
      kind: `${CMBS}message`,
      mixins: [`${CMBS}l32`],
      id,
      attributes: { cmbs: { message: { cmbs_layer: 'l32', topics: ['news'], message_content: content } } },
    };
    const { status } = await ask('POST', '/push/member.bob.l32?topic=news', {
      subscription: 'projects/x/subscriptions/cmbs.member.bob.l32.news',
      message: { messageId: id, data: Buffer.from(JSON.stringify(message)).toString('base64') },
    });
    return status;
  };

  const result = async (id: string): Promise<unknown> => {
    const { attributes } = (await (await ask('GET', `/cmbs/message/${id}`)).json()) as { attributes: JsonObject };
    return attributes['cmbs.message.result'];
  };

  test('ask the program for authorization', async () => {
    denied = 'entity.read';
    expect((await ask('GET', '/cmbs/member/bob')).status).toBe(403);
    expect(asked).toEqual(['anonymous entity.read /cmbs/member/bob']);
  });

  test('answer in a rendering added by the program', async () => {
    const response = await ask('GET', '/cmbs/member/bob', undefined, OWN_TYPE);
    expect([response.headers.get('content-type'), await response.text()]).toEqual([
      OWN_TYPE,
      'own /cmbs/member/bob',
    ]);
  });

  test('read pushed calls with a codec added by the program, and call its services', async () => {
    expect(await push('sunny', 'call weather.forecast')).toBe(204);
    expect(await result('sunny')).toBe('answer sun');
    // Without a token nothing proves that the push comes from the topic bus.
    expect(asked).toContain('anonymous service.call service:weather.forecast');
  });

  test('do not execute a denied pushed call', async () => {
    denied = 'service.call';
    expect(await push('dark', 'call weather.forecast')).toBe(204);
    denied = undefined;
    expect(await result('dark')).toBe('fault -32000');
  });
});
