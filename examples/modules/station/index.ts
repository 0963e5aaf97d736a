/** Readings of a weather station: a module in TypeScript, with hooks, which calls another module. */
import type { Methods, Shutdown, Startup } from '@cmbs/shared/services/modules/kit';

export const version = '1.0.0';
export const depends = ['weather'];

const readings = new Map<string, number>();

export const startup: Startup = async (server, config, log) => {
  // Once per process.
  readings.set('tokyo', typeof config.tokyo === 'number' ? config.tokyo : 20);
  // Once per version, however many processes there are.
  await server.once('announce', () => log.info('the station is there', { version: server.version }));
};

export const shutdown: Shutdown = () => readings.clear();

export const methods: Methods = {
  report: {
    documentation: 'Returns the temperature of a city and its forecast.',
    signatures: [['struct', 'string']],
    flags: { idempotent: true, timeoutMs: 5000 },
    call: async (context, [city]) => {
      const temperature = typeof city === 'string' ? readings.get(city) : undefined;
      if (city === undefined || temperature === undefined) {
        throw new context.Fault(404, 'There is no station in this city.');
      }
      // The same decision is taken as if the caller had called the method.
      return { temperature, forecast: await context.call('weather.forecast', [city]) };
    },
  },
};
