/** Messages for service modules: the port `Messaging`, with the decisions, the errors and the limits of the HTTP requests. */
import { badRequest, CmbsError, toCmbsError } from '../errors';
import { type ExactJson, parseExactJson } from '../exact-json';
import { PAGE_PORTION_CHARS } from '../limits';
import { type ExactObject, isSegment, type Path, stringifyJson } from '../occi';
import { Fault, FAULT } from '../services';
import type {
  AcknowledgedEntry,
  EntityAccess,
  InboxRequest,
  MessageToSend,
  Messaging,
  PortPrincipal,
} from '../services/builtin';
import { layerMixin, MEMBERS, MESSAGE, MESSAGE_KIND } from './cmbs';
import { DEFAULT_INBOX_PAGE, DEFAULT_LEASE_S, entryJson, type Inbox, MAX_INBOX_PAGE, MAX_LEASE_S } from './inbox';
import type { Layers } from './layer-definition';
import { type MessageSender, sendIntent } from './message-sender';

export interface MessagingOptions {
  readonly entities: EntityAccess;
  readonly sends: Pick<MessageSender, 'outcome'>;
  readonly inbox: Inbox;
  readonly layers: Layers;
  /** Milliseconds that a caller waits, who asks for so many seconds, or for none. */
  readonly waitMs: (seconds: number | undefined) => number;
}

export class BrokerMessaging implements Messaging {
  readonly #options: MessagingOptions;

  constructor(options: MessagingOptions) {
    this.#options = options;
  }

  async send(caller: PortPrincipal, message: MessageToSend): Promise<ExactObject> {
    const { entities, sends, layers, waitMs } = this.#options;
    const { from, wait, idempotency_key } = message;
    const { principal, signal, trace } = caller;
    const intent = sendIntent(from, trace);
    const { location } = await entities.create(caller, messageEntity(message, layers), {
      intent,
      isShown: true,
      idempotency_key,
      asked: `send as ${from ?? ''}`,
    });
    const outcome = await located(location, () =>
      sends.outcome(location, intent, {
        principal,
        signal,
        waitMs: waitMs(wait),
        ...(trace === undefined ? {} : { trace }),
      }),
    );
    const { attributes } = await entities.get(caller, location);
    const { [MESSAGE.delivery]: delivery, [MESSAGE.result]: result } = attributes as Readonly<
      Record<string, ExactJson | undefined>
    >;
    return {
      location,
      is_open: outcome.answer === 'entity' && outcome.status === 202,
      ...(outcome.answer === 'entity' && outcome.reason !== undefined ? { reason: outcome.reason } : {}),
      ...(delivery === undefined ? {} : { delivery }),
      ...(result === undefined ? {} : { result }),
    };
  }

  async read(caller: PortPrincipal, member: string, request: InboxRequest): Promise<ExactObject> {
    const { inbox, waitMs } = this.#options;
    const { principal, signal } = caller;
    const { number = DEFAULT_INBOX_PAGE, lease = DEFAULT_LEASE_S, wait = 0, cursor } = request;
    const path = memberPath(member);
    const owner = await inbox.open(principal, 'inbox.read', path);
    checkWhole('number', number, 1, MAX_INBOX_PAGE);
    checkWhole('lease', lease, 0, MAX_LEASE_S);
    const page = await inbox.readOrWait(principal, owner, {
      limit: number,
      leaseMs: lease * 1000,
      waitMs: waitMs(wait),
      signal,
      // Many calls may hold a page in memory at the same time.
      maxChars: PAGE_PORTION_CHARS,
      ...(cursor === undefined ? {} : { cursor }),
    });
    return {
      entries: page.entries.map((entry) =>
        parseExactJson(stringifyJson(entryJson(entry, `${path}/inbox/${entry.id}`))),
      ),
      leased: page.leased,
      ...(page.next === undefined ? {} : { next: page.next }),
    };
  }

  async acknowledge(
    { principal }: PortPrincipal,
    member: string,
    entries: readonly AcknowledgedEntry[],
  ): Promise<void> {
    const { inbox } = this.#options;
    const owner = await inbox.open(principal, 'inbox.acknowledge', memberPath(member));
    if (entries.length > MAX_INBOX_PAGE) {
      throw badRequest(`One request acknowledges ${MAX_INBOX_PAGE} entries at most; send several requests.`);
    }
    await inbox.acknowledge(
      principal,
      owner,
      entries.map(({ id, lease }) => ({ id, ...(lease === undefined ? {} : { lease }) })),
    );
  }
}

/** The message as a client would create it, so that the same checks hold. */
function messageEntity(message: MessageToSend, layers: Layers): ExactObject {
  // Throws for a layer that is not known, with the names of the others.
  const layer = layers.of(layers.parse(message.layer) ?? message.layer).name;
  const flag = (value: boolean | undefined): string | undefined =>
    value === undefined ? undefined : String(value);
  return given({
    kind: MESSAGE_KIND,
    mixins: [layerMixin(layer)],
    id: message.id,
    title: message.title,
    attributes: given({
      [MESSAGE.content]: message.content,
      [MESSAGE.receiver]: message.receiver,
      [MESSAGE.providers]: message.providers,
      [MESSAGE.topics]: message.topics,
      [MESSAGE.executable]: flag(message.executable),
      [MESSAGE.storable]: flag(message.storable),
      [MESSAGE.expiresAt]: message.expires_at,
      [MESSAGE.orderingKey]: message.ordering_key,
      [MESSAGE.headers]: message.headers,
    }),
  });
}

const given = (members: Readonly<Record<string, ExactJson | undefined>>): ExactObject =>
  Object.fromEntries(
    Object.entries(members).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );

/** A message without a receiver is stored all the same, so its refusal says where. */
async function located<T>(location: Path, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    const { code, message } = toCmbsError(thrown);
    if (code !== 'conflict') throw thrown;
    throw new Fault(FAULT.refused, message, { code, location }, { cause: thrown });
  }
}

/** @throws CmbsError `not_found` for a text that names no member */
function memberPath(member: string): Path {
  const id = member.startsWith(MEMBERS) ? member.slice(MEMBERS.length) : member;
  if (isSegment(id)) return MEMBERS + id;
  throw new CmbsError('not_found', `There is no member ${JSON.stringify(member.slice(0, 100))}.`);
}

function checkWhole(name: string, value: number, from: number, to: number): void {
  if (Number.isInteger(value) && value >= from && value <= to) return;
  throw badRequest(`"${name}" takes a whole number from ${from} to ${to}.`);
}
