/** A service module: messages call `weather.forecast`. */
import { Fault, FAULT, type ServiceModule } from '@cmbs/shared/services';

const FORECASTS: Readonly<Record<string, string>> = { tokyo: 'sunny', bergen: 'rain' };

export const weather: ServiceModule = {
  name: 'weather',
  methods: {
    forecast: {
      documentation: 'Returns the forecast for a city.',
      signatures: [['string', 'string']],
      call: (_context, [city]) => {
        const forecast = typeof city === 'string' ? FORECASTS[city] : undefined;
        if (forecast === undefined) throw new Fault(FAULT.invalidParams, 'Name a city that has a forecast.');
        return forecast;
      },
    },
  },
};
