/** A service for trying whether calls arrive. */
import type { ServiceModule } from './module';

/** The module `echo`. */
export const echo: ServiceModule = {
  name: 'echo',
  methods: {
    echo: {
      documentation: 'Returns the array of its arguments. Use it to try whether calls and answers arrive.',
      // pyCMBS declares "string,string" and returns an array; these signatures say what is returned.
      signatures: [['array'], ['array', 'string'], ['array', 'int'], ['array', 'struct'], ['array', 'array']],
      flags: { idempotent: true, anyArguments: true },
      call: (_context, args) => args,
    },
  },
};
