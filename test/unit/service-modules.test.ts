import { ExactNumber } from '@cmbs/shared/exact-json';
import { PortFunctions } from '@cmbs/shared/services/modules';
import { manifestOf } from '../../shared/services/modules/manifest';
import { startOrder } from '../../shared/services/modules/order';
import type { RawManifest } from '../../shared/services/modules/protocol';
import { fromPort, toPort, ValueError } from '../../shared/services/modules/values';
import fc from '../property';

describe('the order in which modules start', () => {
  const module = (name: string, depends: readonly string[] = [], priority = 100) => ({ name, depends, priority });
  const names = (...modules: ReturnType<typeof module>[]): readonly string[] =>
    startOrder(modules).order.map(({ name }) => name);

  it('follows dependencies, then priorities, then names', () => {
    expect(names(module('b'), module('a'), module('c', [], 1))).toEqual(['c', 'a', 'b']);
    expect(names(module('a', ['b']), module('b', ['c']), module('c'))).toEqual(['c', 'b', 'a']);
    // A module with a low priority does not wait for one that nothing needs.
    expect(names(module('a', ['z'], 1), module('m', [], 50), module('z'))).toEqual(['m', 'z', 'a']);
  });

  it('leaves dependencies alone that are not among the modules', () => {
    expect(names(module('a', ['echo', 'missing']), module('b'))).toEqual(['a', 'b']);
  });

  it('names circles, and puts what depends on them last', () => {
    const { order, circles } = startOrder([
      module('behind', ['one'], 1),
      module('one', ['two']),
      module('two', ['three', 'free']),
      module('three', ['one']),
      module('self', ['self']),
      module('free'),
    ]);
    expect(order.map(({ name }) => name)).toEqual(['free', 'behind']);
    expect(Object.fromEntries(circles)).toEqual({
      one: ['one', 'two', 'three', 'one'],
      two: ['two', 'three', 'one', 'two'],
      three: ['three', 'one', 'two', 'three'],
      self: ['self', 'self'],
    });
  });

  it('has every module once, and none before those that it depends on', () => {
    const letters = 'a b c d e f g h'.split(' ');
    const some = fc.uniqueArray(
      fc.record({
        name: fc.constantFrom(...letters),
        priority: fc.integer({ min: 0, max: 3 }),
        depends: fc.uniqueArray(fc.constantFrom(...letters), { maxLength: 3 }),
      }),
      { selector: ({ name }) => name },
    );
    fc.assert(
      fc.property(some, (modules) => {
        const { order, circles } = startOrder(modules);
        expect([...order.map(({ name }) => name), ...circles.keys()].sort()).toEqual(
          modules.map(({ name }) => name).sort(),
        );
        const present = new Set(modules.map(({ name }) => name));
        const started = new Set<string>();
        for (const { name, depends } of order) {
          const missing = depends.filter((one) => present.has(one) && !started.has(one));
          // Only what stands behind a circle starts without its dependencies, and is refused then.
          if (missing.length === 0) started.add(name);
          else expect(circles.size).toBeGreaterThan(0);
        }
      }),
    );
  });
});

describe('what a module says about itself', () => {
  const method = { documentation: 'D.', signatures: ['any'] };
  const raw = (more: Partial<RawManifest> = {}): RawManifest => ({
    methods: { a: method },
    version: null,
    priority: null,
    depends: null,
    hasStartup: false,
    hasShutdown: true,
    ...more,
  });

  it('has defaults', () => {
    expect(manifestOf(raw())).toEqual({
      methods: { a: { documentation: 'D.', signatures: [['any']], flags: {} } },
      version: undefined,
      priority: 100,
      depends: [],
      hasStartup: false,
      hasShutdown: true,
    });
  });

  it.each([
    [['string,int'], [['string', 'int']]],
    [
      ['string, int', 'nil'],
      [['string', 'int'], ['nil']],
    ],
    [[['string', ' int ']], [['string', 'int']]],
    [['dateTime.iso8601'], [['dateTime.iso8601']]],
  ])('has signatures as text or as arrays: %j', (signatures, parsed) => {
    expect(manifestOf(raw({ methods: { a: { ...method, signatures } } })).methods.a?.signatures).toEqual(parsed);
  });

  it.each<[Partial<RawManifest>, RegExp]>([
    [{ methods: undefined }, /^methods: there is no export methods/],
    [{ methods: { a: { ...method, signatures: [] } } }, /^methods\.a\.signatures: .*at least one/],
    [{ methods: { a: { ...method, signatures: ['string,,int'] } } }, /^methods\.a\.signatures\.0: /],
    [{ methods: { a: { ...method, signatures: [[]] } } }, /^methods\.a\.signatures\.0: /],
    [{ methods: { a: { ...method, signatures: [7] } } }, /^methods\.a\.signatures\.0: a signature is text/],
    [{ methods: { a: { ...method, signatures: 'string' } } }, /^methods\.a\.signatures: signatures is an array/],
    [{ methods: { a: { ...method, documentation: ' ' } } }, /^methods\.a\.documentation: .*empty/],
    [{ methods: { a: { ...method, flags: { timeoutMs: 0 } } } }, /^methods\.a\.flags\.timeoutMs: /],
    [{ methods: { a: { ...method, flags: { callers: 'nobody' } } } }, /^methods\.a\.flags\.callers: /],
    [{ version: 1 }, /^version: /],
    [{ version: '1.0\n2.0' }, /^version: a version is text on one line/],
    [{ priority: 'first' }, /^init_priority: /],
    [{ depends: 'weather' }, /^depends: /],
  ])('is refused: %j', (more, says) => {
    expect(() => manifestOf(raw(more))).toThrow(says);
  });
});

describe('values between threads', () => {
  const there = (value: unknown): unknown => fromPort(structuredClone(toPort(value)));

  it('are the same on the other side', () => {
    const leaf = fc.oneof(
      fc.constant(null),
      fc.boolean(),
      fc.double(),
      fc.string({ unit: 'binary' }),
      fc.bigInt(),
      fc.date({ noInvalidDate: true }),
      fc.uint8Array(),
      fc.bigInt().map((digits) => new ExactNumber(String(digits))),
    );
    const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
      tree: fc.oneof({ depthSize: 'small' }, leaf, fc.array(tie('tree')), fc.dictionary(fc.string(), tie('tree'))),
    }));
    fc.assert(
      fc.property(tree, (value) => {
        expect(there(value)).toEqual(value);
      }),
    );
  });

  it('take only their own part of a buffer along', () => {
    const part = new Uint8Array(1_000_000).subarray(10, 12);
    expect((toPort(part) as Uint8Array).buffer.byteLength).toBe(2);
  });

  it('are bounded', () => {
    const deep = (levels: number): unknown => (levels === 0 ? 1 : [deep(levels - 1)]);
    expect(() => toPort(deep(129))).toThrow(ValueError);
    expect(there(deep(128))).toEqual(deep(128));
    expect(() => toPort('x'.repeat(100), 99)).toThrow('larger than 99 bytes');
    expect(() => toPort(new Uint8Array(100), 99)).toThrow('larger than 99 bytes');
    expect(() => toPort({ ['x'.repeat(100)]: 1 }, 99)).toThrow('larger than 99 bytes');
  });

  it.each([[() => 1], [Symbol('x')], [new Map()], [new Error('x')], [[() => 1]], [/x/]])(
    'are refused: %p',
    (value) => {
      expect(() => toPort(value)).toThrow(ValueError);
    },
  );
});

describe('the functions for modules', () => {
  it('have names of one or two words', () => {
    const functions = new PortFunctions();
    functions.register('kv.get', () => 1);
    functions.register('kv.put', () => 1);
    functions.register('groups', () => 1);
    expect(functions.names).toEqual(['kv.get', 'kv.put', 'groups']);
    for (const name of ['kv.get', 'kv', 'groups.all', 'groups', 'log', 'signal.abort', 'once']) {
      expect(() => functions.register(name, () => 1)).toThrow(/already/);
    }
    for (const name of ['', 'Kv.get', 'a.b.c', '__proto__', 'a.', '.a', 'a-b']) {
      expect(() => functions.register(name, () => 1)).toThrow(/cannot be the name/);
    }
  });
});
