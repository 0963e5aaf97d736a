import type { ServiceModule } from './module';

export const echo: ServiceModule = {
  name: 'echo',
  methods: {
    echo: {
      documentation: 'Returns the array of its arguments, whatever they are: a call to try the way here and back.',
      // The original declared "string,string" and answered with the array; the signatures here tell the truth.
      signatures: [['array'], ['array', 'string'], ['array', 'int'], ['array', 'struct'], ['array', 'array']],
      call: (_context, args) => args,
    },
  },
};
