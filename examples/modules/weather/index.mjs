/** The forecast for a city. */
const FORECASTS = new Map(Object.entries({ tokyo: 'sunny', oslo: 'snow' }));

export const methods = {
  forecast: {
    documentation: 'Returns the forecast for a city.',
    signatures: ['string,string'],
    flags: { idempotent: true },
    call: ({ Fault, log }, [city]) => {
      const forecast = FORECASTS.get(city);
      if (forecast === undefined) throw new Fault(404, 'There is no forecast for this city.');
      log.info('asked for a forecast', { city });
      return forecast;
    },
  },
};
