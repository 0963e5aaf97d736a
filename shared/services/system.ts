/** Introspection, with the names that XML-RPC clients use: a remote caller learns which methods exist. */
import { Fault, FAULT } from './fault';
import type { ServiceModule } from './module';
import type { Services } from './services';
import type { Value } from './value';

function oneName(args: readonly Value[]): string {
  const [name] = args;
  if (args.length !== 1 || typeof name !== 'string') {
    throw new Fault(FAULT.invalidParams, 'This method takes one argument, the name of a method.');
  }
  return name;
}

/** The module `system` of a registry. It also lists methods that are registered later. */
export function systemModule(services: Pick<Services, 'list' | 'describe'>): ServiceModule {
  return {
    name: 'system',
    methods: {
      list_methods: {
        documentation: 'Returns the names of all methods that can be called.',
        signatures: [['array']],
        call: (_context, args) => {
          if (args.length > 0) throw new Fault(FAULT.invalidParams, 'This method takes no arguments.');
          return services.list().map(({ name }) => name);
        },
      },
      methodHelp: {
        documentation: 'Returns the documentation of the method whose name is given.',
        signatures: [['string', 'string']],
        call: (_context, args) => services.describe(oneName(args)).documentation,
      },
      methodSignature: {
        documentation:
          'Returns the signatures of the method whose name is given: an array of arrays, each the type of the ' +
          'result and then those of the arguments.',
        signatures: [['array', 'string']],
        call: (_context, args) => services.describe(oneName(args)).signatures,
      },
    },
  };
}
