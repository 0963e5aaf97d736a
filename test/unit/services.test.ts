import { EventEmitter, once } from 'node:events';
import { ExactNumber } from '@cmbs/shared/exact-json';
import { CmbsError, systemClock, type Json, type Log, type LogFields } from '@cmbs/shared';
import {
  codecsOf,
  type Call,
  Fault,
  FAULT,
  outcomesOf,
  type ServiceModule,
  type Services,
  standardServices,
  type Value,
} from '@cmbs/shared/services';
import type { ServiceContext, ServiceMethod } from '../../shared/services/module';
import type { CallContext } from '../../shared/services/services';
import { PATIENCE_MS } from '../patience';
import fc from '../property';

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields | undefined;
}

function recordingLog(onLine: (line: Line) => void = () => undefined): { log: Log; lines: Line[] } {
  const lines: Line[] = [];
  const write =
    (level: string) =>
    (message: string, fields?: LogFields): void => {
      const line = { level, message, fields };
      lines.push(line);
      onLine(line);
    };
  return {
    lines,
    log: { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') },
  };
}

const context = (more: Partial<CallContext> = {}): CallContext => ({
  principal: { kind: 'user' as const, name: 'tester' },
  signal: new AbortController().signal,
  log: recordingLog().log,
  ...more,
});

const method = (call: ServiceMethod['call'], more: Partial<ServiceMethod> = {}): ServiceMethod => ({
  documentation: 'Does what a test needs.',
  signatures: [['any']],
  flags: { anyArguments: true },
  call,
  ...more,
});

function fail(text: string): never {
  throw new Error(text);
}

function refuse(text: string): never {
  throw new Fault(1, text);
}

const moduleOf = (methods: ServiceModule['methods'], name = 'trial'): ServiceModule => ({ name, methods });

function servicesWith(methods: ServiceModule['methods'], deadlineMs = 5000): Services {
  const services = standardServices({ clock: systemClock, newId: () => 'c0ffee', deadlineMs });
  services.register(moduleOf(methods));
  return services;
}

async function faultOf(call: Promise<Value>): Promise<Fault> {
  const outcome = await call.then(
    (value) => new Error(`The call succeeded with ${JSON.stringify(value)}.`),
    (thrown: unknown) => thrown,
  );
  if (!(outcome instanceof Fault)) throw outcome;
  return outcome;
}

describe('the dispatcher of service methods', () => {
  it('answers echo.echo with the array of its arguments', async () => {
    const services = servicesWith({});
    await expect(services.call('echo.echo', ['x'], context())).resolves.toEqual(['x']);
    await expect(services.call('echo.echo', [], context())).resolves.toEqual([]);
    await expect(services.call('echo.echo', [1, { a: [null] }], context())).resolves.toEqual([1, { a: [null] }]);
  });

  it('gives a method the principal, the name, the log and the arguments of its call', async () => {
    const seen: [ServiceContext, readonly Value[]][] = [];
    const services = servicesWith({
      look: method((...given) => {
        seen.push(given);
        return null;
      }),
    });
    const given = context();
    await services.call('trial.look', ['a', 2], given);
    expect(seen).toHaveLength(1);
    expect(seen[0]![0]).toMatchObject({
      principal: { kind: 'user' as const, name: 'tester' },
      methodName: 'trial.look',
      log: given.log,
    });
    expect(seen[0]![1]).toEqual(['a', 2]);
  });

  it.each([
    'nothing',
    'trial',
    'trial.',
    '.look',
    '',
    'trial.constructor',
    'trial.__proto__',
    'trial.toString',
    '__proto__.look',
    'constructor',
    'trial._hidden',
    '_trial.look',
    'trial.inherited',
    'TRIAL.look',
    'trial.look.call',
  ])('knows no method %j (-32601)', async (name) => {
    const inherited = Object.create({ inherited: method(() => 'reached') }) as Record<string, ServiceMethod>;
    inherited.look = method(() => 'reached');
    const fault = await faultOf(servicesWith(inherited).call(name, [], context()));
    expect(fault.code).toBe(-32601);
  });

  it('says that a method may still come while modules are loaded', async () => {
    const services = servicesWith({ look: method(() => 1) });
    const loaded = services.loading();
    await expect(services.call('trial.look', [], context())).resolves.toBe(1);
    for (const name of ['weather.forecast', 'weather']) {
      expect(await faultOf(services.call(name, [], context()))).toMatchObject({
        code: FAULT.refused,
        data: { code: 'unavailable' },
      });
    }
    for (const name of ['system.nothing', 'echo.nothing', '', '__proto__.look']) {
      expect((await faultOf(services.call(name, [], context()))).code).toBe(FAULT.methodNotFound);
    }
    loaded();
    expect((await faultOf(services.call('weather.forecast', [], context()))).code).toBe(FAULT.methodNotFound);
  });

  it('shows only the beginning of a long unknown name', async () => {
    const fault = await faultOf(servicesWith({}).call('x'.repeat(100_000), [], context()));
    expect(fault.message.length).toBeLessThan(300);
  });

  it('passes the code, text and data of a fault on unchanged', async () => {
    const services = servicesWith({
      refuse: method(() => {
        throw new Fault(42, 'No, because of the moon.', { moon: 'full' });
      }),
    });
    const fault = await faultOf(services.call('trial.refuse', [], context()));
    expect([fault.code, fault.message, fault.data]).toEqual([42, 'No, because of the moon.', { moon: 'full' }]);
  });

  it('reports a refusal of the product with its code', async () => {
    const services = servicesWith({
      send: method(() => Promise.reject(new CmbsError('queue_full', 'Too many messages wait; come again later.'))),
    });
    const fault = await faultOf(services.call('trial.send', [], context()));
    expect([fault.code, fault.message, fault.data]).toEqual([
      FAULT.refused,
      'Too many messages wait; come again later.',
      { code: 'queue_full' },
    ]);
  });

  it.each([
    ['thrown', (): never => fail('secret')],
    ['rejected', async (): Promise<Value> => Promise.reject(new Error('secret /etc/passwd'))],
    ['internal', async (): Promise<Value> => Promise.reject(new CmbsError('internal', 'secret'))],
  ])('hides an error that a method has %s behind a correlation id, which the log has too', async (_how, call) => {
    const { log, lines } = recordingLog();
    const fault = await faultOf(servicesWith({ fail: method(call) }).call('trial.fail', [], context({ log })));
    expect(fault.code).toBe(-32603);
    expect(fault.data).toEqual({ correlationId: 'c0ffee' });
    expect(fault.message).toContain('c0ffee');
    expect(fault.message).not.toContain('secret');
    expect(lines.map(({ level }) => level)).toEqual(['error', 'info']);
    expect(lines[0]).toMatchObject({ level: 'error', fields: { method: 'trial.fail', correlationId: 'c0ffee' } });
    expect(String(lines[0]!.fields!.cause)).toContain('secret');
  });

  it('ends a call at its deadline, aborts the method, and logs a late failure', async () => {
    const logged = new EventEmitter();
    const { log } = recordingLog((line) => logged.emit('line', line));
    const late = once(logged, 'line', { signal: AbortSignal.timeout(PATIENCE_MS) });
    let aborting: AbortSignal | undefined;
    const services = servicesWith(
      {
        hang: method(
          ({ signal }) =>
            new Promise((_resolve, reject) => {
              aborting = signal;
              signal.addEventListener('abort', () => setImmediate(() => reject(new Error('too late'))));
            }),
        ),
      },
      20,
    );
    const fault = await faultOf(services.call('trial.hang', [], context({ log })));
    expect(fault.code).toBe(FAULT.deadlineExceeded);
    expect(aborting?.aborted).toBe(true);
    const [line] = (await late) as [Line];
    expect(line.fields).toMatchObject({ method: 'trial.hang' });
  });

  it('ends a call whose caller has left with an unknown outcome', async () => {
    const caller = new AbortController();
    const services = servicesWith({
      hang: method(() => {
        setImmediate(() => caller.abort());
        return new Promise(() => undefined);
      }),
    });
    const fault = await faultOf(services.call('trial.hang', [], context({ signal: caller.signal })));
    expect(fault.code).toBe(FAULT.outcomeUnknown);
  });

  it('does not start a call whose caller has already left', async () => {
    let runs = 0;
    const services = servicesWith({ count: method(() => ++runs) });
    const fault = await faultOf(services.call('trial.count', [], context({ signal: AbortSignal.abort() })));
    expect([fault.code, runs]).toEqual([FAULT.refused, 0]);
  });
});

describe('the registry of service modules', () => {
  it.each([
    ['has no documentation', moduleOf({ a: method(() => 1, { documentation: ' ' }) })],
    ['needs at least one signature', moduleOf({ a: method(() => 1, { signatures: [] }) })],
    ['needs at least one signature', moduleOf({ a: method(() => 1, { signatures: [[]] }) })],
    ["cannot be a method's name", moduleOf({ _a: method(() => 1) })],
    ["cannot be a method's name", moduleOf({ 'a.b': method(() => 1) })],
    ["cannot be a module's name", moduleOf({}, '_trial')],
    ['There is a module echo already', moduleOf({ shout: method(() => 1) }, 'echo')],
  ])('refuses a module that %s', (why, bad) => {
    expect(() => standardServices({ clock: systemClock, newId: () => '1' }).register(bad)).toThrow(why);
  });

  it('exposes no method of a module that it refused', async () => {
    const services = servicesWith({});
    const half = moduleOf({ good: method(() => 1), bad: method(() => 1, { documentation: '' }) }, 'half');
    expect(() => services.register(half)).toThrow();
    expect((await faultOf(services.call('half.good', [], context()))).code).toBe(-32601);
  });
});

describe('the arguments of a call', () => {
  /** A method with signatures that returns its arguments. */
  const typed = (...signatures: readonly (readonly string[])[]): Services =>
    servicesWith({ take: method((_context, args) => args, { signatures, flags: {} }) });

  it.each<[readonly string[], readonly Value[]]>([
    [['array'], []],
    [['array', 'int'], [-2147483648]],
    [['array', 'i8'], [new ExactNumber('9223372036854775807')]],
    [['array', 'double'], [1]],
    [['array', 'string'], ['']],
    [['array', 'boolean'], [false]],
    [['array', 'array'], [[]]],
    [['array', 'struct'], [{}]],
    [['array', 'nil'], [null]],
    [
      ['array', 'any', 'any'],
      [null, 'x'],
    ],
    [
      ['array', 'base64', 'dateTime.iso8601'],
      [Uint8Array.of(1), new Date(0)],
    ],
  ])('reach a method of the signature %j', async (signature, args) => {
    await expect(typed(signature).call('trial.take', args, context())).resolves.toEqual(args);
  });

  it('become bytes and times where the signature says so', async () => {
    const services = typed(['array', 'base64', 'dateTime.iso8601', 'string']);
    const args = ['AQI=', '1998-07-17T14:08:55Z', 'AQI='];
    await expect(services.call('trial.take', args, context())).resolves.toEqual([
      Uint8Array.from([1, 2]),
      new Date('1998-07-17T14:08:55Z'),
      'AQI=',
    ]);
  });

  it.each<[readonly string[], readonly Value[], string]>([
    [['array'], [1], 'trial.take takes (), not (int).'],
    [['array', 'string'], [], 'trial.take takes (string), not ().'],
    [['array', 'int'], [2147483648], 'trial.take takes (int), not (i8).'],
    [['array', 'int'], [1.5], 'trial.take takes (int), not (double).'],
    [['array', 'string', 'int'], ['a', 'b'], 'trial.take takes (string, int), not (string, string).'],
    [
      ['array', 'base64'],
      ['no base64'],
      'trial.take takes (base64), not (string). As text, base64 has padding: "aGVsbG8=".',
    ],
    [['array', 'boolean'], [null], 'trial.take takes (boolean), not (nil).'],
    [['array', 'struct'], [[]], 'trial.take takes (struct), not (array).'],
  ])('do not reach a method of the signature %j when they are %j', async (signature, args, text) => {
    const fault = await faultOf(typed(signature).call('trial.take', args, context()));
    expect([fault.code, fault.message]).toEqual([FAULT.invalidParams, text]);
  });

  it('fit one of several signatures, which decides the type of the result', async () => {
    const services = typed(['double', 'double', 'double'], ['string', 'string']);
    await expect(services.outcome('trial.take', [1, 2], context())).resolves.toEqual({
      value: [1, 2],
      type: 'double',
    });
    await expect(services.outcome('trial.take', ['a'], context())).resolves.toEqual({
      value: ['a'],
      type: 'string',
    });
    const { value } = await services.outcome('trial.take', [1], context());
    expect(value).toMatchObject({
      code: FAULT.invalidParams,
      message: 'trial.take takes (double, double) or (string), not (int).',
    });
  });

  it('in a format with bytes and times of its own stay text, also inside of a multicall', async () => {
    const services = typed(['array', 'base64'], ['array', 'string']);
    const given = context({ hasAllTypes: true });
    await expect(services.call('trial.take', ['AQI='], given)).resolves.toEqual(['AQI=']);
    const inside = [{ methodName: 'trial.take', params: ['AQI='] }];
    await expect(services.call('system.multicall', [inside], given)).resolves.toEqual([[['AQI=']]]);
    const fault = await faultOf(typed(['array', 'base64']).call('trial.take', ['text'], given));
    expect([fault.code, fault.message]).toEqual([FAULT.invalidParams, 'trial.take takes (base64), not (string).']);
  });

  it('are decided before they are looked at, so that a stranger learns nothing of signatures', async () => {
    const services = standardServices({
      clock: systemClock,
      newId: () => 'c0ffee',
      authorize: () => Promise.reject(new CmbsError('forbidden', 'You may not call this.')),
    });
    const fault = await faultOf(services.call('system.methodHelp', [1, 2, 3], context()));
    expect([fault.code, fault.message]).toEqual([FAULT.refused, 'You may not call this.']);
  });

  it('may be any when the method says so', async () => {
    const services = servicesWith({ take: method((_context, args) => args, { signatures: [['array', 'int']] }) });
    await expect(services.outcome('trial.take', ['x', null], context())).resolves.toEqual({
      value: ['x', null],
      type: 'array',
    });
  });

  it('are shown in part when there are very many', async () => {
    const args = Array.from({ length: 10_000 }, () => 'x');
    const fault = await faultOf(typed(['array']).call('trial.take', args, context()));
    expect(fault.message.length).toBeLessThan(600);
  });
});

describe('a call that has ended', () => {
  const refuse = method(() => {
    throw new Fault(7, 'Not today.');
  });

  it('is in the log, with its method, principal, way and trace, and without its arguments', async () => {
    const { log, lines } = recordingLog();
    const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const given = context({ log, trace, way: 'xml-rpc', clientAddress: '192.0.2.1' });
    const services = servicesWith({ refuse });
    await services.call('echo.echo', ['hunter2'], given);
    await faultOf(services.call('trial.refuse', ['hunter2'], given));
    await faultOf(services.call('no.such', ['hunter2'], given));
    const line = { event: 'call', way: 'xml-rpc', principal: 'user:tester', client: '192.0.2.1', trace };
    expect(lines.map(({ level, fields }) => [level, fields])).toMatchObject([
      ['info', { ...line, method: 'echo.echo', outcome: 'answer' }],
      ['info', { ...line, method: 'trial.refuse', outcome: 'fault', code: 7 }],
      ['info', { ...line, method: 'no.such', outcome: 'fault', code: -32601 }],
    ]);
    expect(JSON.stringify(lines)).not.toContain('hunter2');
  });

  it('is logged as slow from a number of milliseconds on', async () => {
    const { log, lines } = recordingLog();
    const services = standardServices({ clock: systemClock, newId: () => 'c0ffee', slowMs: 0 });
    await services.call('echo.echo', [], context({ log }));
    expect(lines).toMatchObject([{ level: 'warn', message: 'slow call', fields: { method: 'echo.echo' } }]);
  });

  it('is counted for its method, in system.stats and in the histogram', async () => {
    const observed: unknown[] = [];
    const services = standardServices({
      clock: systemClock,
      newId: () => 'c0ffee',
      histograms: { observe: (name, labels) => void observed.push([name, labels]) },
    });
    services.register(moduleOf({ refuse }));
    for (let n = 0; n < 3; n += 1) await services.call('echo.echo', [], context());
    await faultOf(services.call('trial.refuse', [], context()));
    await faultOf(services.call('no.such', [], context()));
    const stats = (await services.call('system.stats', [], context())) as {
      readonly since: Date;
      readonly methods: readonly Record<string, Value>[];
    };
    expect(stats.since).toBeInstanceOf(Date);
    expect(stats.methods).toMatchObject([
      { name: 'echo.echo', calls: 3, faults: 0 },
      { name: 'trial.refuse', calls: 1, faults: 1, last_error: { code: 7, text: 'Not today.' } },
    ]);
    const { histogram, total_ms: total, longest_ms: longest } = stats.methods[0] ?? {};
    expect((histogram as readonly { readonly calls: number }[]).reduce((sum, { calls }) => sum + calls, 0)).toBe(
      3,
    );
    expect(Number(total)).toBeGreaterThanOrEqual(Number(longest));
    expect(observed.slice(0, 4)).toEqual([
      ...Array.from({ length: 3 }, () => ['cmbs_method_seconds', { method: 'echo.echo', outcome: 'answer' }]),
      ['cmbs_method_seconds', { method: 'trial.refuse', outcome: 'fault' }],
    ]);
    await expect(services.call('system.stats', ['trial'], context())).resolves.toMatchObject({
      methods: [{ name: 'trial.refuse' }],
    });
    await expect(services.call('system.stats', ['echo.echo'], context())).resolves.toMatchObject({
      methods: [{ name: 'echo.echo' }],
    });
  });
});

describe('introspection', () => {
  const services = servicesWith({
    late: method(() => 1, { documentation: 'Help.', signatures: [['int', 'string']] }),
  });

  it('lists all methods, also those of modules that are registered later', async () => {
    await expect(services.call('system.list_methods', [], context())).resolves.toEqual([
      'echo.echo',
      'system.auth',
      'system.discover',
      'system.getCapabilities',
      'system.get_capabilities',
      'system.listMethods',
      'system.list_methods',
      'system.list_modules',
      'system.logout',
      'system.methodHelp',
      'system.methodSignature',
      'system.method_help',
      'system.method_signature',
      'system.multicall',
      'system.stats',
      'system.whoami',
      'trial.late',
    ]);
  });

  it('returns the documentation and the signatures of a method', async () => {
    await expect(services.call('system.methodHelp', ['trial.late'], context())).resolves.toBe('Help.');
    await expect(services.call('system.methodSignature', ['trial.late'], context())).resolves.toEqual([
      ['int', 'string'],
    ]);
    await expect(services.call('system.methodSignature', ['echo.echo'], context())).resolves.toContainEqual([
      'array',
      'string',
    ]);
  });

  it.each([
    ['system.methodHelp', [], -32602],
    ['system.methodHelp', [1], -32602],
    ['system.methodSignature', ['a', 'b'], -32602],
    ['system.list_methods', ['a'], -32602],
    ['system.methodHelp', ['no.such'], -32601],
  ])('answers %s%j with fault %i', async (name, args, code) => {
    expect((await faultOf(services.call(name, args, context()))).code).toBe(code);
  });
});

describe('a fault', () => {
  it.each([1.5, Number.NaN, 2 ** 31])('cannot have the code %d, which XML-RPC could not carry', (code) => {
    expect(() => new Fault(code, 'x')).toThrow(RangeError);
  });
});

describe('a call inside a content', () => {
  it.each<[string, Json, Call | undefined]>([
    ['JSON text', '{"method":"echo.echo","params":["x"],"id":7}', { method: 'echo.echo', params: ['x'], id: 7 }],
    ['JSON text after white space', ' \n{"method":"a.b"}', { method: 'a.b', params: [] }],
    ['an object', { method: 'a.b', params: [1] }, { method: 'a.b', params: [1] }],
    [
      'version 2.0',
      { jsonrpc: '2.0', method: 'm', id: null },
      { jsonrpc: '2.0', method: 'm', params: [], id: null },
    ],
    ['named parameters, as one argument', { method: 'm', params: { a: 1 } }, { method: 'm', params: [{ a: 1 }] }],
  ])('is found in %s', (_what, content, call) => {
    expect(codecsOf().decode(content)).toEqual(call);
  });

  it.each<[string, Json]>([
    ['plain text', 'hello'],
    ['text that begins like JSON', '{hello'],
    ['nothing', ''],
    ['null', null],
    ['a number', 3],
    ['an object without method', { params: [] }],
    ['a method that is no string', { method: 1 }],
    ['parameters that are a string', { method: 'm', params: 'x' }],
    ['parameters that are null', { method: 'm', params: null }],
    ['an id that is an object', { method: 'm', id: {} }],
    ['another version', { method: 'm', jsonrpc: '3.0' }],
    ['an array', [{ method: 'm' }]],
  ])('is not found in %s', (_what, content) => {
    expect(codecsOf().decode(content)).toBeUndefined();
  });

  it('is answered with the id and version that the caller gave', () => {
    const answerOf = (call: Partial<Call>, outcome: Json | Fault): unknown =>
      JSON.parse(codecsOf().encode({ method: 'm', params: [], ...call }, outcome));
    expect(answerOf({}, 1)).toEqual({ result: 1 });
    expect(answerOf({ id: null }, ['x'])).toEqual({ id: null, result: ['x'] });
    expect(answerOf({ id: 'a', jsonrpc: '2.0' }, null)).toEqual({ jsonrpc: '2.0', id: 'a', result: null });
    expect(answerOf({ id: 1 }, new Fault(-32601, 'No.'))).toEqual({
      id: 1,
      error: { code: -32601, message: 'No.' },
    });
    expect(answerOf({ id: 1 }, new Fault(5, 'No.', ['why']))).toEqual({
      id: 1,
      error: { code: 5, message: 'No.', data: ['why'] },
    });
  });

  it('never throws for any text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.string().map((text) => `{${text}`),
        ),
        (text) => {
          const call = codecsOf().decode(text);
          expect(call === undefined || typeof call.method === 'string').toBe(true);
        },
      ),
    );
  });
});

it.each([true, false])('a program whose faults show stacks warns of it: %s', (debugFaults) => {
  const { log, lines } = recordingLog();
  standardServices({ clock: systemClock, newId: () => 'id', log, debugFaults });
  expect(lines.map(({ level, message }) => `${level} ${message}`)).toEqual(
    debugFaults ? [expect.stringMatching(/^warn faults show stacks/)] : [],
  );
});

describe('many calls with large results', () => {
  const MIB = 1024 * 1024;
  const services = standardServices({ clock: systemClock, newId: () => 'id' });
  services.register(
    moduleOf({
      large: method(() => 'x'.repeat(4 * MIB)),
      fails: method(() => refuse('x'.repeat(5 * MIB))),
      itself: method(() => {
        const value: Value[] = [];
        value.push(value);
        return value;
      }),
    }),
  );
  const names = ['large', 'fails', 'large', 'large', 'itself', 'large'].map((name) => `trial.${name}`);

  it('of a batch keep as many as one answer can have, and the small ones', async () => {
    const calls = [...names, 'echo.echo'].map((called) => ({ method: called, params: [] }));
    const values = (await outcomesOf(services, calls, context())).map(({ value }) => value);
    const codes = values.map((value) => (value instanceof Fault ? value.code : 'answer'));
    const tooLarge = codes.filter((code) => code === FAULT.internalError);
    expect(tooLarge).toHaveLength(3);
    expect(values.at(-1)).toEqual([]);
  });

  it('give way to other work between them', async () => {
    let turns = 0;
    let next: NodeJS.Immediate | undefined;
    const turn = (): void => {
      turns += 1;
      next = setImmediate(turn);
    };
    turn();
    const calls = Array.from({ length: 100 }, () => ({ methodName: 'echo.echo', params: [] }));
    await services.call('system.multicall', [calls], context());
    clearImmediate(next);
    expect(turns).toBeGreaterThanOrEqual(100);
  });

  it('of a multicall keep as many as one answer can have, and the small ones', async () => {
    const calls = [...names, 'echo.echo'].map((methodName) => ({ methodName, params: [] }));
    const entries = (await services.call('system.multicall', [calls], context())) as readonly Value[];
    const codes = entries.map((entry) =>
      Array.isArray(entry) ? 'answer' : (entry as { faultCode: number }).faultCode,
    );
    expect(codes).toEqual(['answer', 1, 'answer', -32603, -32603, -32603, 'answer']);
  });
});
