/** `/cmbs/member/<id>/inbox/`: a program reads and acknowledges the messages of its member (docs/layers.md). */
import { badRequest, CmbsError, type ErrorCode, toCmbsError } from '@cmbs/shared';
import {
  type Acknowledged,
  DEFAULT_INBOX_PAGE,
  DEFAULT_LEASE_S,
  entryJson,
  type InboxPage,
  InboxWaiting,
  MAX_INBOX_PAGE,
  MAX_LEASE_S,
  MEMBERS,
  type Owner,
} from '@cmbs/shared/broker';
import { MAX_WAIT_S, PAGE_PORTION_CHARS } from '@cmbs/shared/limits';
import { isFollowedLink } from '@cmbs/shared/sites';
import { stringifyJson } from '@cmbs/shared/occi';
import { z } from 'zod';
import type { App } from '../app';
import { checkQuery } from '../occi-context';
import { inPieces } from '../http-write';
import { idempotencyOf } from '../idempotency';
import { inTurn, type LargeTurn } from '../large-answers';
import { collectionPrecondition } from '../preconditions';
import { queryValue, type OcciRequest, type OcciResponse } from '../request';
import { answer, answerJson, negotiateType } from '../respond';

/** Milliseconds between two comments on an event stream, so that no proxy closes the connection as idle. */
const EVENT_STREAM_HEARTBEAT_MS = 15_000;

const METHODS = 'GET, HEAD, DELETE, OPTIONS';
/** Clients of the original ask for its own JSON type everywhere. */
const AS_JSON = { mediaTypes: ['application/json', 'application/occi+json'] } as const;
const AS_EVENTS = { mediaTypes: ['text/event-stream'] } as const;

/** Errors of a read that end a stream as its reader expects. */
const ENDS_STREAM: ReadonlySet<ErrorCode> = new Set(['not_found', 'forbidden', 'unauthenticated']);

const entryId = z.string().min(1).max(255);
const acknowledgement = z.strictObject({
  entries: z
    .array(z.union([entryId.transform((id) => ({ id })), z.strictObject({ id: entryId, lease: entryId })]))
    .min(1)
    .max(MAX_INBOX_PAGE),
});

function wholeNumber(request: OcciRequest, name: string, fallback: number, from: number, to: number): number {
  const text = queryValue(request, name);
  if (text === undefined) return fallback;
  if (!/^\d{1,9}$/.test(text) || Number(text) < from || Number(text) > to) {
    throw badRequest(`"${name}" in the query takes a whole number from ${from} to ${to}.`);
  }
  return Number(text);
}

interface Address {
  readonly memberId: string;
  readonly collection: string;
  readonly entry: string | undefined;
}

function addressOf(request: OcciRequest): Address {
  const [memberId = '', , entry = ''] = request.path.slice(MEMBERS.length).split('/');
  return { memberId, collection: `${MEMBERS}${memberId}/inbox/`, entry: entry === '' ? undefined : entry };
}

/** `{"entries":[…],"next":"…"}`, one text for each entry. */
function* texts(page: InboxPage, { collection }: Address, base: string): Iterable<string> {
  yield '{"entries":[';
  let comma = '';
  for (const entry of page.entries) {
    yield comma + stringifyJson(entryJson(entry, base + collection + entry.id));
    comma = ',';
  }
  yield `],"leased":${page.leased}${page.next === undefined ? '' : `,"next":${stringifyJson(page.next)}`}}`;
}

async function read(
  request: OcciRequest,
  app: App,
  at: Address,
  owner: Owner,
  turn: LargeTurn,
): Promise<OcciResponse> {
  const peek = request.method === 'HEAD' || isFollowedLink(request);
  const cursor = queryValue(request, 'cursor');
  const page = await app.inbox.readOrWait(request.principal, owner, {
    waitMs: wholeNumber(request, 'wait', 0, 0, MAX_WAIT_S) * 1000,
    signal: request.signal,
    claim: turn.claim,
    limit: wholeNumber(request, 'number', DEFAULT_INBOX_PAGE, 1, MAX_INBOX_PAGE),
    leaseMs: peek ? 0 : wholeNumber(request, 'lease', DEFAULT_LEASE_S, 0, MAX_LEASE_S) * 1000,
    ...(cursor === undefined ? {} : { cursor }),
    // The page is empty; another large answer may have the turn while this reader waits.
    onPause: () => turn.release(),
  });
  const pieces = texts(page, at, request.base);
  const rendered = {
    headers: { 'Content-Type': 'application/json' },
    body: turn.isTaken ? '' : [...pieces].join(''),
  };
  const whole = answer(200, rendered);
  return turn.isTaken ? { ...whole, body: inPieces(pieces) } : whole;
}

async function* events(
  request: OcciRequest,
  { inbox, clock, entities }: App,
  at: Address,
  owner: Owner,
  leaseMs: number,
): AsyncIterable<string> {
  yield ': the inbox of a member; acknowledge each event by DELETE of its href\n\n';
  let spoke = clock.now();
  const isThere = async (): Promise<boolean> =>
    (await entities.find(owner.path))?.entity.createdAt === owner.createdAt;
  const watch = inbox.watch(owner);
  try {
    await watch.ready(EVENT_STREAM_HEARTBEAT_MS, request.signal);
    // The stream ends with its member: messages for a later member of that name are not for this reader.
    const waiting = new InboxWaiting();
    while (!request.signal.aborted && (await isThere())) {
      const page = await inbox.read(request.principal, owner, {
        ...waiting.cursor,
        limit: DEFAULT_INBOX_PAGE,
        leaseMs,
        // The characters that each follower holds in memory, at most.
        maxChars: PAGE_PORTION_CHARS,
        signal: request.signal,
      });
      for (const entry of page.entries) {
        const { id } = entry;
        yield `id: ${id}\nevent: message\ndata: ${stringifyJson(entryJson(entry, request.base + at.collection + id)).replaceAll(/[\r\n]/g, ' ')}\n\n`;
        spoke = clock.now();
      }
      if (clock.now() - spoke >= EVENT_STREAM_HEARTBEAT_MS) {
        yield ': still here\n\n';
        spoke = clock.now();
      }
      if (page.entries.length > 0) continue;
      const pauseMs = waiting.pauseAfter(page);
      const heartbeatMs = spoke + EVENT_STREAM_HEARTBEAT_MS - clock.now();
      if (pauseMs > 0) await watch.changed(Math.max(1, Math.min(pauseMs, heartbeatMs)), request.signal);
    }
  } catch (thrown) {
    // The stream ends without an error when the server stops, the member is deleted, or its reader loses the right.
    if (!request.signal.aborted && !ENDS_STREAM.has(toCmbsError(thrown).code)) throw thrown;
  } finally {
    watch.end();
  }
}

function acknowledged(request: OcciRequest, at: Address): readonly Acknowledged[] {
  const lease = queryValue(request, 'lease');
  if (at.entry !== undefined) return [{ id: at.entry, ...(lease === undefined ? {} : { lease }) }];
  let json: unknown;
  try {
    json = JSON.parse(request.body.toString('utf8'));
  } catch (cause) {
    throw badRequest('The body is not JSON; to acknowledge entries send {"entries":["id",…]}.', { cause });
  }
  const parsed = acknowledgement.safeParse(json);
  if (!parsed.success)
    throw badRequest(
      `To acknowledge send {"entries":["id",…]} with 1 to ${MAX_INBOX_PAGE} ids, or {"id":…,"lease":…} in place of each.`,
    );
  // An entry that is named twice is acknowledged once.
  return [...new Map(parsed.data.entries.map((entry) => [entry.id, entry])).values()];
}

/** @throws CmbsError as `Inbox.open`, `Inbox.read` and `Inbox.acknowledge`; `bad_request`, `method_not_allowed` */
export async function inbox(request: OcciRequest, app: App): Promise<OcciResponse> {
  const at = addressOf(request);
  if (request.method === 'OPTIONS') {
    await app.entities.authorizePath(MEMBERS + at.memberId, request.principal);
    return answer(204, undefined, { Allow: METHODS });
  }
  const operation = request.method === 'DELETE' ? 'inbox.acknowledge' : 'inbox.read';
  const owner = await app.inbox.open(request.principal, operation, MEMBERS + at.memberId);
  const known = await collectionPrecondition(request);
  if (known !== undefined) return known;
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      checkQuery(request, app, ['wait', 'lease', 'number', 'cursor']);
      if (at.entry !== undefined) {
        throw new CmbsError(
          'method_not_allowed',
          'An entry cannot be read by itself; read its inbox, and acknowledge the entry with DELETE.',
          {
            headers: { Allow: 'DELETE, OPTIONS' },
          },
        );
      }
      if (negotiateType<string>(request, [AS_JSON, AS_EVENTS]) === AS_EVENTS.mediaTypes[0]) {
        const leaseMs = wholeNumber(request, 'lease', DEFAULT_LEASE_S, 1, MAX_LEASE_S) * 1000;
        const headers = { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' };
        return { ...answer(200, { headers, body: '' }), body: events(request, app, at, owner, leaseMs) };
      }
      return inTurn(request, app.answers, (turn) => read(request, app, at, owner, turn));
    case 'DELETE': {
      checkQuery(request, app, at.entry === undefined ? [] : ['lease']);
      negotiateType(request, [AS_JSON]);
      const entries = acknowledged(request, at);
      const done = await app.answered.once(idempotencyOf(request).idempotent, async () => {
        await app.inbox.acknowledge(request.principal, owner, entries);
        return { acknowledged: entries.length };
      });
      return answerJson(200, done);
    }
    default:
      throw new CmbsError('method_not_allowed', `${request.method} is not offered here.`, {
        headers: { Allow: METHODS },
      });
  }
}
