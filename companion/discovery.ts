/**
 * `check_neighbors`: breadth first from the member's neighbours, side by side, each with its own deadline; each member
 * reached becomes a link from the one that asked (docs/layers.md).
 */
import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { toCmbsError, type Json, type JsonObject } from '@cmbs/shared';
import {
  describe,
  DISCOVERY_CONTENT,
  type Evidence,
  DISCOVERY_LAYER,
  layerMixin,
  MEMBER,
  type MemberRegistration,
  MEMBERS,
  MESSAGE,
  MESSAGE_KIND,
  messageFrame,
  MESSAGES,
  NEIGHBOR_KIND,
  NEIGHBORS,
  originOf,
  parseReply,
  type RegistrationResult,
  registryOf,
  socketOf,
  stringList,
} from '@cmbs/shared/broker';
import {
  MAX_DESCRIBED_NAMES,
  MAX_DESCRIPTION_CHARS,
  MAX_NAME_LENGTH,
  MAX_SHOWN_NAME_LENGTH,
} from '@cmbs/shared/limits';
import type { RpcResult } from '@cmbs/shared/rpc';
import { CORE_SOURCE, CORE_TARGET, type Entity, type Path, readEntity, writeEntity } from '@cmbs/shared/occi';
import type { Environment } from './environment';
import { PeerError, type RequestConnection } from './exchanges/exchange';
import { RPC_MARGIN_MS, RPC_TIMEOUT_MS } from '@cmbs/shared/broker';

/** Neighbours asked at the same time, sockets asked in one discovery, milliseconds and attempts for each. */
export const DISCOVERY_CONCURRENCY = 16;
const MAX_DISCOVERED_SOCKETS = 1000;
const DISCOVERY_TIMEOUT_MS = 2000;
export const DISCOVERY_ATTEMPTS = 2;
/** Milliseconds of one discovery: less than its caller waits, so that the report still reaches it. */
export const DISCOVERY_BUDGET_MS = RPC_TIMEOUT_MS - RPC_MARGIN_MS;

type Report = RpcResult<'check_neighbors'>;

export class Discovery {
  readonly #environment: Environment;
  readonly #registration: MemberRegistration;

  constructor(environment: Environment, registration: MemberRegistration) {
    this.#environment = environment;
    this.#registration = registration;
  }

  /** Ends in time to be told: what was not asked by then is reported as such. */
  async check(asking: Entity, caller: AbortSignal): Promise<Report> {
    const budget = new AbortController();
    const cancel = this.#environment.clock.after(DISCOVERY_BUDGET_MS, () => budget.abort());
    try {
      return await this.#explore(asking, AbortSignal.any([caller, budget.signal]));
    } finally {
      cancel();
    }
  }

  async #explore(asking: Entity, signal: AbortSignal): Promise<Report> {
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
        // Once: what peers list beyond the bound has none.
        isTold = true;
        const reason = `more than ${MAX_DISCOVERED_SOCKETS} sockets are known; this one and others were not asked`;
        report.failed.push({ socket: socket.slice(0, MAX_SHOWN_NAME_LENGTH), reason });
      }
    };
    stringList(asking.attributes[MEMBER.neighbors]).forEach(add);
    const frame = this.#frame(asking);
    // Each socket that is being asked listens; without this Node takes them for a leak and says so on stderr.
    setMaxListeners(2 * DISCOVERY_CONCURRENCY, signal);
    let busy = 0;
    await new Promise<void>((resolve) => {
      const next = (): void => {
        while (busy < DISCOVERY_CONCURRENCY && waiting.length > 0) {
          const socket = waiting.shift() as string;
          busy += 1;
          void this.#ask(asking, socket, frame, signal, report)
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

  #frame(asking: Entity): string {
    const { newId, clock, deployment, uriOf, layers } = this.#environment;
    const id = newId();
    const now = clock.now();
    const message: Entity = {
      path: MESSAGES + id,
      id,
      kind: MESSAGE_KIND,
      mixins: [layerMixin(DISCOVERY_LAYER)],
      attributes: {
        [MESSAGE.layer]: DISCOVERY_LAYER,
        [MESSAGE.executable]: 'false',
        [MESSAGE.sendable]: 'true',
        [MESSAGE.storable]: 'false',
      },
      rawJson: {},
      owner: asking.owner,
      createdAt: now,
      updatedAt: now,
    };
    return messageFrame(message, {
      content: JSON.stringify(describe(asking, layers)),
      pathHistory: [uriOf(asking.path)],
      transfer: {
        v: 1,
        origin: { deployment, revision: asking.updatedAt },
        content_type: DISCOVERY_CONTENT,
      },
    });
  }

  /** Asks one socket; resolves with the sockets that the member there knows. Never rejects: failures are reported. */
  async #ask(
    asking: Entity,
    socket: string,
    frame: string,
    signal: AbortSignal,
    report: Report,
  ): Promise<readonly string[]> {
    const { exchanges } = this.#environment;
    let requester: RequestConnection | undefined;
    if (signal.aborted) {
      report.failed.push({ socket, reason: PEER_REASONS.aborted });
      return [];
    }
    try {
      requester = exchanges.connectForRequests(socket);
      const reply = parseReply(await this.#request(requester, frame, signal));
      if (reply.kind === 'error') {
        report.failed.push({ socket, reason: `${reply.code}: ${reply.message}` });
        return [];
      }
      const result = await this.#registerFrom(asking, socket, reply.json, signal);
      if (result.member === undefined) {
        report.failed.push({ socket, reason: NOT_REGISTERED[result.outcome] });
        return [];
      }
      if (result.member !== asking.path) {
        await this.#link(asking, result.member);
        const conflict = result.doubt === undefined ? {} : { conflict: this.#conflictOf(result.member) };
        report[result.outcome === 'stored' ? 'found' : 'known'].push({
          socket,
          member: result.member,
          ...conflict,
        });
      }
      const known = reply.json.sockets_l1;
      return Array.isArray(known)
        ? known.filter((one): one is string => typeof one === 'string' && one !== '')
        : [];
    } catch (thrown) {
      const reason = thrown instanceof PeerError ? PEER_REASONS[thrown.reason] : toCmbsError(thrown).message;
      report.failed.push({ socket, reason });
      return [];
    } finally {
      await requester?.close();
    }
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

  #conflictOf(member: Path): string {
    const known = this.#environment.members.get(member);
    const address =
      (known === undefined ? undefined : socketOf(known, DISCOVERY_LAYER)) ?? `no ${DISCOVERY_LAYER} socket`;
    return `another member is known as ${member}, with ${address}, and was kept; delete it if this one is right`;
  }

  /**
   * Asks a known member at its recorded address to describe itself, and registers that. Undefined where no member answers
   * for the member there. Never rejects.
   */
  async confirm(member: Path, asking: Entity, signal: AbortSignal): Promise<RegistrationResult | undefined> {
    const { exchanges, log, members } = this.#environment;
    const known = members.get(member);
    const asked = known === undefined ? undefined : socketOf(known, DISCOVERY_LAYER);
    if (asked === undefined || signal.aborted) return undefined;
    let requester: RequestConnection | undefined;
    try {
      requester = exchanges.connectForRequests(asked);
      const reply = parseReply(await this.#request(requester, this.#frame(asking), signal));
      if (reply.kind === 'error') return undefined;
      const { member_description: description } = reply.json;
      const result = await this.#registration.register(description, originOf(reply.json), asking.id, { asked });
      return result.member === member ? result : undefined;
    } catch (thrown) {
      if (!(thrown instanceof PeerError)) log.warn('a member could not be asked', { member, cause: thrown });
      return undefined;
    } finally {
      await requester?.close();
    }
  }

  async #request(requester: RequestConnection, frame: string, signal: AbortSignal): Promise<Buffer> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await requester.request(frame, { timeoutMs: DISCOVERY_TIMEOUT_MS, signal });
      } catch (error) {
        const again = error instanceof PeerError && (error.reason === 'timeout' || error.reason === 'lost');
        if (!again || attempt >= DISCOVERY_ATTEMPTS) throw error;
      }
    }
  }

  /** One link per member reached; asking again makes no second one. */
  async #link(asking: Entity, target: Path): Promise<void> {
    const { store, clock } = this.#environment;
    const registry = await registryOf(this.#environment);
    const id = neighborId(asking.id, target.slice(MEMBERS.length));
    const path = NEIGHBORS + id;
    await store.transact(async (tx) => {
      const there = await readEntity(tx, path);
      const source = await readEntity(tx, asking.path);
      if (there !== undefined || source === undefined) return;
      const now = clock.now();
      const attributes: Record<string, Json> = { [CORE_SOURCE]: asking.path, [CORE_TARGET]: target };
      const link: Entity = {
        path,
        id,
        kind: NEIGHBOR_KIND,
        mixins: [],
        attributes,
        rawJson: {},
        owner: asking.owner,
        createdAt: now,
        updatedAt: now,
      };
      writeEntity(tx, link, undefined, registry);
      writeEntity(tx, { ...source.entity, isLinked: true }, source.entity, registry);
    });
  }
}

/** Both names, as far as there is room: a digest tells apart those that begin alike. */
function neighborId(source: string, target: string): string {
  const id = `${source}~${target}`;
  if (id.length <= MAX_NAME_LENGTH) return id;
  const digest = createHash('sha256').update(id).digest('hex').slice(0, 32);
  return `${id.slice(0, MAX_NAME_LENGTH - 33).replace(/\p{Surrogate}$/u, '')}~${digest}`;
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
