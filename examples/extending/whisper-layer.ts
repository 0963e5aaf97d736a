/** A sixth layer: L5 whispers to the listed members over the broadcast channel. */
import type { LayerDefinition } from '@cmbs/shared/broker';

export const whisper: LayerDefinition = {
  name: 'l5',
  aliases: ['whisper'],
  title: 'L5 CMBS message',
  port: 5050,
  attributes: {
    'cmbs.message.providers': { type: 'array', required: false, mutable: true, lenient: false },
  },
  channel: 'broadcast',
  usesMemberAddresses: true,
  tellsPartialResult: true,
  deliveries: async ({ message, named }) => {
    const providers = message.attributes['cmbs.message.providers'] as readonly string[];
    return (await named(providers)).flat().map((member) => ({
      name: member.path,
      via: 'broadcast',
      address: member.attributes['cmbs.member.l5_socket'] as string,
      member: member.path,
      state: 'queued',
      attempts: 0,
    }));
  },
  result: (deliveries) => ({ whispered: Object.fromEntries(deliveries.map(({ name, state }) => [name, state])) }),
};
