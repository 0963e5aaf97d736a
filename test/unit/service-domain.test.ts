/** The built-in modules before the program has opened the domain, and their descriptions. */
import { allowAll, ANONYMOUS, newId, silentLog, systemClock } from '@cmbs/shared';
import { standardServices, type Value } from '@cmbs/shared/services';
import { BuiltInServices } from '@cmbs/shared/services/builtin';
import { MemoryStore } from '../../examples/extending/memory-store';

const services = standardServices({ clock: systemClock, newId });
const { functions } = new BuiltInServices({
  services,
  store: new MemoryStore(systemClock, silentLog),
  clock: systemClock,
  newId,
  authorize: allowAll,
  isAdministrator: async () => true,
});
const caller = {
  principal: ANONYMOUS,
  signal: new AbortController().signal,
  module: 'trial',
  depth: 0,
  log: silentLog,
};

/** Arguments that each method takes. */
const ARGUMENTS: Readonly<Record<string, readonly Value[]>> = {
  'message.send': [{ layer: 'l1' }],
  'message.read': ['bob'],
  'message.acknowledge': ['bob', ['x']],
  'acl.list': ['echo.echo'],
  'acl.allow': ['echo.echo', ['user:bob']],
  'acl.deny': ['echo.echo', ['user:bob']],
  'acl.remove': ['x'],
  'acl.check': ['entity.read', '/x'],
  'group.create': ['x'],
  'group.delete': ['x'],
  'group.list': [],
  'group.members': ['x'],
  'group.administrators': ['x'],
  'group.add': ['x', ['user:bob']],
  'group.remove': ['x', ['user:bob']],
  'group.add_administrators': ['x', ['user:bob']],
  'group.remove_administrators': ['x', ['user:bob']],
  'token.create': [],
  'token.list': [],
  'token.revoke': ['x'],
};
const METHODS = services.list().filter(({ name }) => /^(?:message|acl|group|token)\./.test(name));

describe('built-in modules', () => {
  it.each(METHODS.map(({ name }) => name))(
    '%s is refused with unavailable until the domain is open',
    async (name) => {
      const call = services.call(name, ARGUMENTS[name] as readonly Value[], { ...caller, log: silentLog });
      await expect(call).rejects.toMatchObject({ code: -32000, data: { code: 'unavailable' } });
    },
  );

  it.each(Object.entries(functions).filter(([name]) => /^(?:broker|entities)\./.test(name)))(
    'context.%s is refused with unavailable until the domain is open',
    async (name, call) => {
      const args = ARGUMENTS[name.replace('broker', 'message')] ?? [
        '/x',
        ...(name.endsWith('update') ? [{}] : ['x']),
      ];
      const given =
        name === 'entities.create' ? [{ kind: 'x' }] : args.slice(0, /get|list|delete/.test(name) ? 1 : 2);
      await expect(Promise.resolve(call(caller, given))).rejects.toMatchObject({ code: 'unavailable' });
    },
  );

  it('a method whose answer has a secret is refused where the answer is stored', async () => {
    const stored = services.call('token.create', [], { ...caller, log: silentLog, isStored: true });
    await expect(stored).rejects.toMatchObject({ code: -32000, data: { code: 'forbidden' } });
  });

  it.each(METHODS.map((method) => [method.name, method] as const))('%s says what it takes', (_name, method) => {
    expect(method.documentation).toMatch(/\.$/);
    for (const [result, ...types] of method.signatures) {
      for (const type of [result, ...types])
        expect(['array', 'boolean', 'int', 'string', 'struct']).toContain(type);
    }
    // A call with the arguments of the first signature reaches the method.
    expect(method.signatures.map((types) => types.length - 1)).toContain(ARGUMENTS[method.name]?.length);
  });
});
