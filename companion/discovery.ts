/**
 * `check_neighbors`: asks a member's neighbours, their neighbours, and so on, several at the same time, each with its own
 * deadline. Each member that answers is registered and linked to the member that asks (docs/layers.md).
 */
import { setMaxListeners } from 'node:events';
import { toCmbsError, type JsonObject, type Log } from '@cmbs/shared';
import {
  DISCOVERY_LAYER,
  type Evidence,
  MEMBER,
  type MemberRegistration,
  originOf,
  type RegistrationResult,
  type Reply,
  RPC_MARGIN_MS,
  RPC_TIMEOUT_MS,
  socketOf,
  stringList,
} from '@cmbs/shared/broker';
import { MAX_DESCRIBED_NAMES, MAX_DESCRIPTION_CHARS, MAX_SHOWN_NAME_LENGTH } from '@cmbs/shared/limits';
import type { Entity, Path } from '@cmbs/shared/occi';
import type { RpcCaller, RpcResult } from '@cmbs/shared/rpc';
import { PeerError } from './exchanges/exchange';
import type { Members } from './members';
import { linkNeighbor, type NeighborLinksEnvironment } from './neighbor-links';
import { PeerInquiry, type PeerInquiryEnvironment } from './peer-inquiry';

/** Sockets that are asked at the same time, and in one discovery. */
export const DISCOVERY_CONCURRENCY = 16;
const MAX_DISCOVERED_SOCKETS = 1000;
/** Milliseconds of one discovery: less than its caller waits, so that the report still reaches the caller. */
export const DISCOVERY_BUDGET_MS = RPC_TIMEOUT_MS - RPC_MARGIN_MS;

type Report = RpcResult<'check_neighbors'>;

/** What discovery needs of its companion. */
export interface DiscoveryEnvironment extends PeerInquiryEnvironment, NeighborLinksEnvironment {
  readonly members: Pick<Members, 'find'>;
  readonly log: Log;
}

export class Discovery {
  readonly #environment: DiscoveryEnvironment;
  readonly #registration: Pick<MemberRegistration, 'register'>;
  readonly #inquiry: PeerInquiry;

  constructor(environment: DiscoveryEnvironment, registration: Pick<MemberRegistration, 'register'>) {
    this.#environment = environment;
    this.#registration = registration;
    this.#inquiry = new PeerInquiry(environment);
  }

  /** Ends in time for the caller to get the report; sockets that were not asked by then are reported as such. */
  async check(asking: Entity, caller: RpcCaller): Promise<Report> {
    const budget = new AbortController();
    const cancel = this.#environment.clock.after(DISCOVERY_BUDGET_MS, () => budget.abort());
    try {
      return await this.#explore(asking, { ...caller, signal: AbortSignal.any([caller.signal, budget.signal]) });
    } finally {
      cancel();
    }
  }

  async #explore(asking: Entity, caller: RpcCaller): Promise<Report> {
    const report: Report = { found: [], known: [], failed: [] };
    const seen = new Set<string>();
    const own = socketOf(asking, DISCOVERY_LAYER);
    if (own !== undefined) seen.add(own);
    const waiting: string[] = [];
    let isTold = false;
    const add = (socket: string): void => {
      if (seen.has(socket)) return;
      if (seen.size < MAX_DISCOVERED_SOCKETS) {
        seen.add(socket);
        waiting.push(socket);
      } else if (!isTold) {
        // Reported once, since peers may list any number of sockets.
        isTold = true;
        const reason = `more than ${MAX_DISCOVERED_SOCKETS} sockets are known; this one and others were not asked`;
        report.failed.push({ socket: socket.slice(0, MAX_SHOWN_NAME_LENGTH), reason });
      }
    };
    stringList(asking.attributes[MEMBER.neighbors]).forEach(add);
    const frame = this.#inquiry.frame(asking);
    // Each request listens to the signal; without this Node warns of a leak on stderr.
    setMaxListeners(2 * DISCOVERY_CONCURRENCY, caller.signal);
    let busy = 0;
    await new Promise<void>((resolve) => {
      const next = (): void => {
        while (busy < DISCOVERY_CONCURRENCY && waiting.length > 0) {
          const socket = waiting.shift() as string;
          busy += 1;
          void this.#ask(asking, socket, frame, caller, report)
            .then((sockets) => sockets.forEach(add))
            .finally(() => {
              busy -= 1;
              next();
            });
        }
        if (busy === 0) resolve();
      };
      next();
    });
    return report;
  }

  /** Asks one socket; resolves with the sockets that the member there knows. Never rejects: failures are reported. */
  async #ask(
    asking: Entity,
    socket: string,
    frame: string,
    caller: RpcCaller,
    report: Report,
  ): Promise<readonly string[]> {
    if (caller.signal.aborted) {
      report.failed.push({ socket, reason: PEER_REASONS.aborted });
      return [];
    }
    try {
      return await this.#inquiry.ask(socket, frame, caller.signal, (reply) =>
        this.#replied(asking, socket, reply, caller, report),
      );
    } catch (thrown) {
      const reason = thrown instanceof PeerError ? PEER_REASONS[thrown.reason] : toCmbsError(thrown).message;
      report.failed.push({ socket, reason });
      return [];
    }
  }

  async #replied(
    asking: Entity,
    socket: string,
    reply: Reply,
    caller: RpcCaller,
    report: Report,
  ): Promise<readonly string[]> {
    if (reply.kind === 'error') {
      report.failed.push({ socket, reason: `${reply.code}: ${reply.message}` });
      return [];
    }
    const result = await this.#registerFrom(asking, socket, reply.json, caller.signal);
    if (result.member === undefined) {
      report.failed.push({ socket, reason: NOT_REGISTERED[result.outcome] });
      return [];
    }
    if (result.member !== asking.path) {
      await linkNeighbor(this.#environment, asking, result.member, caller.principal);
      const conflict = result.doubt === undefined ? {} : { conflict: await this.#conflictOf(result.member) };
      report[result.outcome === 'stored' ? 'found' : 'known'].push({ socket, member: result.member, ...conflict });
    }
    const known = reply.json.sockets_l1;
    return Array.isArray(known) ? known.filter((one): one is string => typeof one === 'string' && one !== '') : [];
  }

  async #registerFrom(
    asking: Entity,
    asked: string,
    reply: JsonObject,
    signal: AbortSignal,
  ): Promise<RegistrationResult> {
    const register = (more: Evidence): Promise<RegistrationResult> =>
      this.#registration.register(reply.member_description, originOf(reply), asking.id, { asked, ...more });
    const result = await register({});
    if (result.member === undefined || result.doubt !== 'contested') return result;
    // No address has answered for the member yet. The first answer from the recorded address is believed.
    const recorded = await this.confirm(result.member, asking, signal);
    return recorded === undefined ? register({ isRecordGone: true }) : result;
  }

  async #conflictOf(member: Path): Promise<string> {
    const known = await this.#environment.members.find(member);
    const address =
      (known === undefined ? undefined : socketOf(known, DISCOVERY_LAYER)) ?? `no ${DISCOVERY_LAYER} socket`;
    return `another member is known as ${member}, with ${address}, and was kept; delete it if this one is right`;
  }

  /**
   * Asks a known member at its recorded address to describe itself, and registers the description. Undefined when no
   * member there answers for it. Never rejects.
   */
  async confirm(member: Path, asking: Entity, signal: AbortSignal): Promise<RegistrationResult | undefined> {
    const { log, members } = this.#environment;
    try {
      const known = await members.find(member);
      const asked = known === undefined ? undefined : socketOf(known, DISCOVERY_LAYER);
      if (asked === undefined || signal.aborted) return undefined;
      return await this.#inquiry.ask(asked, this.#inquiry.frame(asking), signal, async (reply) => {
        if (reply.kind === 'error') return undefined;
        const { member_description: description } = reply.json;
        const result = await this.#registration.register(description, originOf(reply.json), asking.id, { asked });
        return result.member === member ? result : undefined;
      });
    } catch (thrown) {
      if (!(thrown instanceof PeerError)) log.warn('a member could not be asked', { member, cause: thrown });
      return undefined;
    }
  }
}

const NOT_REGISTERED: Readonly<Record<RegistrationResult['outcome'], string>> = {
  stored: 'the answer describes no member',
  known: 'the answer describes no member',
  'no description': 'the answer describes no member',
  refused: 'the member was not accepted',
  'too large': `the member describes itself in more than ${MAX_DESCRIPTION_CHARS} characters, or with more than ${MAX_DESCRIBED_NAMES} topics or neighbours`,
};

const PEER_REASONS: Readonly<Record<PeerError['reason'], string>> = {
  no_listener: 'nobody listens there',
  timeout: 'no reply in time',
  lost: 'the connection was lost',
  closed: 'the companion is stopping',
  aborted: 'the time for discovery is over',
};
