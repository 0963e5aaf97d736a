/** The module `message`: sends messages and reads inboxes on behalf of the caller (docs/services.md). */
import { z } from 'zod';
import type { ServiceModule } from '../module';
import type { Value } from '../value';
import { anyJson, anyObject, argumentsOf, shortText } from './arguments';
import type { Messaging, PortPrincipal } from './ports';

/** Seconds; the domain has the limits. */
const seconds = z.number().min(0).max(86_400);

const toSend = z.strictObject({
  layer: shortText,
  content: anyJson.optional(),
  receiver: z.string().max(10_000).optional(),
  providers: z.array(z.string()).max(10_000).optional(),
  topics: z.array(z.string()).max(10_000).optional(),
  from: shortText.optional(),
  id: shortText.optional(),
  title: z.string().optional(),
  executable: z.boolean().optional(),
  storable: z.boolean().optional(),
  expires_at: z.string().max(100).optional(),
  ordering_key: z.string().optional(),
  headers: anyObject.optional(),
  wait: seconds.optional(),
  idempotency_key: shortText.optional(),
});
const inboxRequest = z.strictObject({
  number: z.number().optional(),
  cursor: z.string().max(10_000).optional(),
  wait: seconds.optional(),
  lease: z.number().optional(),
});
const entry = z.union([
  shortText.transform((id) => ({ id })),
  z.strictObject({ id: shortText, lease: shortText.optional() }),
]);

const sendArguments = z.tuple([toSend]);
const readArguments = z.tuple([shortText, inboxRequest.default({})]);
const acknowledgeArguments = z.tuple([shortText, z.array(entry).min(1).max(10_000)]);

/** The operations with the arguments of a call: for the module, and for modules of a directory (`context.broker`). */
export function messageCalls(port: Messaging) {
  return {
    send: async (caller: PortPrincipal, args: readonly Value[]): Promise<Value> => {
      const [message] = argumentsOf(sendArguments, args, 'send(message)');
      return port.send(caller, message);
    },
    read: async (caller: PortPrincipal, args: readonly Value[]): Promise<Value> => {
      const [member, request] = argumentsOf(readArguments, args, 'read(member, options)');
      return port.read(caller, member, request);
    },
    acknowledge: async (caller: PortPrincipal, args: readonly Value[]): Promise<Value> => {
      const [member, entries] = argumentsOf(acknowledgeArguments, args, 'acknowledge(member, entries)');
      // An entry that is named twice is acknowledged once.
      const once = [...new Map(entries.map((one) => [one.id, one])).values()];
      await port.acknowledge(caller, member, once);
      return once.length;
    },
  };
}

export function messageModule(port: Messaging): ServiceModule {
  const calls = messageCalls(port);
  return {
    name: 'message',
    methods: {
      send: {
        documentation:
          'Creates a message and sends it. The struct has `layer` (l1, l2, l31, l32 or l4) and `content`, and what the ' +
          'layer needs: `receiver` (an address, L1), `providers` (members, L3.1, L3.2), `topics` (L3.2, L4). It may have ' +
          '`from` (the member that sends), `id`, `title`, `executable` and `storable` (boolean), `expires_at` (RFC 3339), ' +
          '`ordering_key`, `headers`, `wait` (seconds, 20 at most) and `idempotency_key`. Returns `location`, `delivery`, ' +
          '`result`, `is_open` (whether the outcome is not known yet) and `reason`. A message that reaches no member is ' +
          'fault -32000 with the codes `conflict` and `location` in its data; the message is stored.',
        signatures: [['struct', 'struct']],
        call: calls.send,
      },
      read: {
        documentation:
          "Reads a member's inbox; the member is an id or a path. The options are `number` (entries, 100 by default, " +
          '1000 at most), `cursor`, `wait` (seconds for an entry to arrive, 20 at most) and `lease` (seconds for which ' +
          'others do not get the entries, 30 by default). Returns `entries`, `leased` and, if there are more, `next`.',
        signatures: [
          ['struct', 'string'],
          ['struct', 'string', 'struct'],
        ],
        call: calls.read,
      },
      acknowledge: {
        documentation:
          "Removes entries from a member's inbox, all or none. An entry is an id, or a struct with `id` and `lease`, " +
          'which fails when the lease is over. Returns the number of entries.',
        signatures: [['int', 'string', 'array']],
        call: calls.acknowledge,
      },
    },
  };
}
