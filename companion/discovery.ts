/**
 * `check_neighbors`: breadth first from the member's neighbours, side by side, each with its own deadline; each member
 * reached becomes a link from the one that asked (layers.md, Members).
 */
import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { toCmbsError, type Json } from '@cmbs/shared';
import {
  MEMBER,
  MEMBERS,
  MESSAGE,
  MESSAGE_KIND,
  MESSAGES,
  NEIGHBOR_KIND,
  NEIGHBORS,
  layerMixin,
} from '@cmbs/shared/broker/cmbs';
import { registryOf } from '@cmbs/shared/broker/context';
import type { Learning } from '@cmbs/shared/broker/learning';
import { describe, socketOf, stringList } from '@cmbs/shared/broker/member';
import { DISCOVERY_CONTENT, messageFrame, originOf, parseReply } from '@cmbs/shared/broker/wire';
import {
  MAX_NAME_LENGTH,
  DISCOVERY_ATTEMPTS,
  DISCOVERY_BUDGET_MS,
  DISCOVERY_CONCURRENCY,
  DISCOVERY_TIMEOUT_MS,
  MAX_DISCOVERED_SOCKETS,
  MAX_SHOWN_NAME_LENGTH,
} from '@cmbs/shared/limits';
import type { LinkReply } from '@cmbs/shared/link/link';
import { readEntity, writeEntity } from '@cmbs/shared/occi/entity-store';
import { CORE_SOURCE, CORE_TARGET, type Entity, type Path } from '@cmbs/shared/occi/model';
import type { Environment } from './environment';
import { PeerError, Requester } from './sockets/requester';

type Report = LinkReply<'check_neighbors'>;

export class Discovery {
  readonly #environment: Environment;
  readonly #learning: Learning;

  constructor(environment: Environment, learning: Learning) {
    this.#environment = environment;
    this.#learning = learning;
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
    const own = socketOf(asking, 'l1');
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
    const { newId, clock, deployment, uriOf } = this.#environment;
    const id = newId();
    const now = clock.now();
    const message: Entity = {
      path: MESSAGES + id,
      id,
      kind: MESSAGE_KIND,
      mixins: [layerMixin('l1')],
      attributes: {
        [MESSAGE.layer]: 'l1',
        [MESSAGE.executable]: 'false',
        [MESSAGE.sendable]: 'true',
        [MESSAGE.storable]: 'false',
      },
      verbatim: {},
      owner: asking.owner,
      createdAt: now,
      updatedAt: now,
    };
    return messageFrame(message, {
      content: JSON.stringify(describe(asking)),
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
    const { context, log, counters, clock } = this.#environment;
    let requester: Requester | undefined;
    if (signal.aborted) {
      report.failed.push({ socket, reason: PEER_REASONS.aborted });
      return [];
    }
    try {
      requester = new Requester(socket, { context, log, counters, clock });
      const reply = parseReply(await this.#request(requester, frame, signal));
      if (reply.kind === 'error') {
        report.failed.push({ socket, reason: `${reply.code}: ${reply.message}` });
        return [];
      }
      const lesson = await this.#learning.learn(reply.json.member_description, originOf(reply.json), asking.id);
      if (lesson.member === undefined) {
        const reason =
          lesson.learnt === 'refused' ? 'the member was not accepted' : 'the answer describes no member';
        report.failed.push({ socket, reason });
        return [];
      }
      if (lesson.member !== asking.path) {
        await this.#link(asking, lesson.member);
        report[lesson.learnt === 'stored' ? 'found' : 'known'].push({ socket, member: lesson.member });
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

  async #request(requester: Requester, frame: string, signal: AbortSignal): Promise<Buffer> {
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
        verbatim: {},
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

const PEER_REASONS: Readonly<Record<PeerError['reason'], string>> = {
  no_listener: 'nobody listens there',
  timeout: 'no reply in time',
  lost: 'the connection was lost',
  closed: 'the companion is stopping',
  aborted: 'the time for discovery is over',
};
