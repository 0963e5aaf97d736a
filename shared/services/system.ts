/** Introspection, with the names that XML-RPC clients use: a remote caller learns which methods exist. */
import { Fault, FAULT } from './fault';
import type { ServiceModule } from './module';
import type { MethodDescription, Services } from './services';
import { statsMethod } from './statistics';
import type { Value } from './value';

function oneName(args: readonly Value[]): string {
  const [name] = args;
  if (args.length !== 1 || typeof name !== 'string') {
    throw new Fault(FAULT.invalidParams, 'This method takes one argument, the name of a method.');
  }
  return name;
}

/** The module `system` of a registry. It also lists methods that are registered later. */
export function systemModule(
  services: Pick<Services, 'list' | 'describe' | 'refresh' | 'statistics'>,
): ServiceModule {
  /** A method that may have come since the last call. */
  const described = async (name: string): Promise<MethodDescription> => {
    await services.refresh(name.split('.', 1)[0]);
    return services.describe(name);
  };
  return {
    name: 'system',
    methods: {
      list_methods: {
        documentation: 'Returns the names of all methods that can be called.',
        signatures: [['array']],
        call: async (_context, args) => {
          if (args.length > 0) throw new Fault(FAULT.invalidParams, 'This method takes no arguments.');
          await services.refresh();
          return services.list().map(({ name }) => name);
        },
      },
      methodHelp: {
        documentation: 'Returns the documentation of the method whose name is given.',
        signatures: [['string', 'string']],
        call: async (_context, args) => (await described(oneName(args))).documentation,
      },
      methodSignature: {
        documentation:
          'Returns the signatures of the method whose name is given: an array of arrays, each the type of the ' +
          'result and then those of the arguments.',
        signatures: [['array', 'string']],
        call: async (_context, args) => (await described(oneName(args))).signatures,
      },
      stats: statsMethod(() => services.statistics),
    },
  };
}
