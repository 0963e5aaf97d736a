/**
 * A load of HTTP clients on two deployments, and a ledger of the writes that were acknowledged to them. After a
 * crash, the ledger is compared with the stored data. `near` sends; `far` and a second member of near receive.
 */
import { existsSync, readFileSync } from 'node:fs';
import type { Json, JsonObject } from '@cmbs/shared';
import { ask, at, inboxOf, messageBody, messageField, must, type Answer, type Entry } from './durability-support';
import { PATIENCE_MS } from '../patience';

/** Destinations of messages. */
export interface Addresses {
  /** L1 socket of far's member. */
  readonly far: string;
  /** L1 socket of near's own member, which also sends. */
  readonly near: string;
}

interface Written {
  /** Value of the last acknowledged write; undefined if none was acknowledged. */
  acknowledged: number | undefined;
  /** Value of the last attempted write. */
  tried: number;
}

interface Batch {
  readonly ids: readonly string[];
  acknowledged: boolean;
}

interface Sent {
  readonly to: 'far' | 'near' | 'topic';
  readonly isCall: boolean;
  /** The send action was answered 200 or 202. */
  acknowledged: boolean;
}

/** Entities of one batch. */
const BATCH = 3;
/** Writes of one entity: its creation and its updates. */
const WRITES = 4;
const CLIENTS_OF_EACH_KIND = 2;

export class Ledger {
  readonly entities = new Map<string, Written>();
  readonly batches = new Map<string, Batch>();
  readonly sends = new Map<string, Sent>();
  /** Acknowledgements of any kind, and those of sends that were queued for later. */
  acknowledged = 0;
  queued = 0;
  #reached: { readonly count: number; readonly resolve: () => void } | undefined;
  readonly refused: string[] = [];
  #round = 0;

  /** Runs clients of every kind against `url` until `stop` aborts. A client that gets no answer continues. */
  async load(url: string, addresses: Addresses, stop: AbortSignal): Promise<void> {
    this.#round += 1;
    const round = this.#round;
    const clients = [this.#writer, this.#batcher, this.#sender];
    await Promise.all(
      clients.flatMap((client) =>
        Array.from({ length: CLIENTS_OF_EACH_KIND }, async (_, which) => {
          for (let n = 0; !stop.aborted; n++)
            await client.call(this, url, `${round}-${which}-${n}`, stop, addresses);
        }),
      ),
    );
  }

  /** Resolves after `count` more acknowledgements. */
  async more(count: number): Promise<void> {
    const wanted = this.acknowledged + count;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve, reject) => {
      this.#reached = { count: wanted, resolve };
      timer = setTimeout(() => {
        const refused = this.refused.join('\n');
        reject(new Error(`${this.acknowledged} of ${wanted} acknowledged within ${PATIENCE_MS} ms\n${refused}`));
      }, PATIENCE_MS);
    });
    clearTimeout(timer);
  }

  /** Sends a request that may be interrupted; undefined if it was. Records refusals, since none is expected. */
  async #try(method: string, url: string, stop: AbortSignal, body?: Json): Promise<Answer | undefined> {
    try {
      const answer = await ask(method, url, { signal: stop, ...(body === undefined ? {} : { body }) });
      if (answer.status >= 300) this.refused.push(`${method} ${url}: ${answer.status} ${answer.text}`);
      else this.acknowledged += 1;
      if (this.#reached !== undefined && this.acknowledged >= this.#reached.count) this.#reached.resolve();
      if (answer.status === 202) this.queued += 1;
      return answer.status < 300 ? answer : undefined;
    } catch {
      return undefined; // interrupted: the outcome is unknown
    }
  }

  /** Creates an entity and updates it a few times; its title is the number of the write. */
  async #writer(url: string, name: string, stop: AbortSignal): Promise<void> {
    const id = `entity-${name}`;
    const entry: Written = { acknowledged: undefined, tried: 0 };
    this.entities.set(id, entry);
    const target = `${url}/cmbs/message/${id}`;
    for (let n = 0; n < WRITES && !stop.aborted; n++) {
      entry.tried = n;
      const body = n === 0 ? messageBody('l1', { message_content: { n } }, titleOf(n)) : { title: titleOf(n) };
      const answer = await this.#try(n === 0 ? 'PUT' : 'POST', target, stop, body);
      if (answer === undefined) return;
      entry.acknowledged = n;
    }
  }

  async #batcher(url: string, name: string, stop: AbortSignal): Promise<void> {
    const ids = Array.from({ length: BATCH }, (_, n) => `batch-${name}-${n}`);
    const entry: Batch = { ids, acknowledged: false };
    this.batches.set(name, entry);
    const resources = ids.map((id) => ({ ...messageBody('l1', {}, BATCH_TITLE), id }));
    const answer = await this.#try('POST', `${url}/cmbs/message/`, stop, { resources });
    entry.acknowledged = answer !== undefined;
  }

  /** Creates a message and sends it once, with or without a call: to far, to near itself or to a topic. */
  async #sender(url: string, name: string, stop: AbortSignal, { far, near }: Addresses): Promise<void> {
    const id = `send-${name}`;
    // Rounds are short, so each begins with another kind of send.
    const turn = name.split('-').reduce((sum, part) => sum + Number(part), 0);
    const to = (['far', 'near', 'topic', 'far'] as const)[turn % 4] ?? 'far';
    const isCall = turn % 4 < 2;
    const content: Json = isCall ? { method: 'probe.count', params: [id], id } : { said: id };
    const layer = to === 'topic' ? 'l32' : 'l1';
    const addressed: JsonObject =
      to === 'topic' ? { topics: ['load.test'] } : { l1_socket_receiver_member: to === 'far' ? far : near };
    const created = await this.#try('PUT', `${url}/cmbs/message/${id}`, stop, {
      ...messageBody(layer, { message_content: content, ...addressed }),
    });
    if (created === undefined) return;
    const entry: Sent = { to, isCall, acknowledged: false };
    this.sends.set(id, entry);
    const sent = await this.#try('POST', `${url}/cmbs/message/${id}?action=send_${layer}`, stop, {
      action: `http://houssem.org/cmbs/message/action#send_${layer}`,
      attributes: { from: 'near' },
    });
    entry.acknowledged = sent !== undefined;
  }

  /** A copy that the load no longer changes. */
  snapshot(): Ledger {
    const copy = new Ledger();
    copy.acknowledged = this.acknowledged;
    for (const [id, entry] of this.entities) copy.entities.set(id, { ...entry });
    for (const [name, entry] of this.batches) copy.batches.set(name, { ...entry });
    for (const [id, entry] of this.sends) copy.sends.set(id, { ...entry });
    return copy;
  }

  /** All attempted writes so far; a write counts as acknowledged only if `earlier` has it as acknowledged. */
  asAcknowledgedIn(earlier: Ledger): Ledger {
    const copy = this.snapshot();
    for (const [id, entry] of copy.entities) entry.acknowledged = earlier.entities.get(id)?.acknowledged;
    for (const [name, entry] of copy.batches)
      entry.acknowledged = earlier.batches.get(name)?.acknowledged ?? false;
    for (const [id, entry] of copy.sends) entry.acknowledged = earlier.sends.get(id)?.acknowledged ?? false;
    return copy;
  }

  /** Differences between the ledger and near's data, for the last round or for all; empty if there are none. */
  async differences(url: string, which: 'last round' | 'all' = 'all'): Promise<readonly string[]> {
    const isAsked = (name: string): boolean => which === 'all' || name.startsWith(`${this.#round}-`);
    const wrong: string[] = [];
    /** For each title, the entities that show it when they are read one by one. */
    const seen = new Map<string, string[]>(TITLES.map((title) => [title, []]));
    const read = async (id: string): Promise<string | undefined> => {
      const answer = await ask('GET', `${url}/cmbs/message/${id}`);
      if (answer.status === 404) return undefined;
      const title = typeof answer.json.title === 'string' ? answer.json.title : '';
      seen.get(title)?.push(id);
      return title;
    };
    for (const [id, { acknowledged, tried }] of this.entities) {
      if (!isAsked(nameOf(id))) continue;
      const title = await read(id);
      if (title === undefined) {
        if (acknowledged !== undefined) wrong.push(`${id} was acknowledged and is not there`);
        continue;
      }
      const n = Number(title.slice(TITLE.length));
      if (!(n >= (acknowledged ?? 0) && n <= tried))
        wrong.push(`${id} has write ${n}, but ${acknowledged} was acknowledged and ${tried} was the last`);
    }
    for (const [name, { ids, acknowledged }] of this.batches) {
      if (!isAsked(name)) continue;
      const found = (await Promise.all(ids.map(read))).filter((title) => title !== undefined).length;
      if (found !== 0 && found !== ids.length) wrong.push(`batch ${name} has ${found} of ${ids.length}`);
      if (acknowledged && found === 0) wrong.push(`batch ${name} was acknowledged and is not there`);
    }
    for (const [title, ids] of seen) {
      const found = await locations(`${url}/cmbs/message/?attribute=occi.core.title&value=${title}`);
      const filtered = found.filter((id) => isAsked(nameOf(id)));
      if (filtered.join() !== ids.sort().join())
        wrong.push(`filtering by ${title} finds ${filtered.length} entities, reading them ${ids.length}`);
    }
    const listed = new Set(await locations(`${url}/cmbs/message/l1/`));
    for (const id of [...seen.values()].flat())
      if (!listed.has(id)) wrong.push(`${id} is not in the collection of its mixin`);
    return wrong;
  }

  /** Acknowledged sends without an outcome. */
  async underWay(url: string): Promise<readonly string[]> {
    const open: string[] = [];
    for (const [id, { acknowledged }] of this.sends) {
      if (!acknowledged) continue;
      const { json } = await must('GET', `${url}/cmbs/message/${id}`);
      const state = messageField(json, 'delivery', 'state');
      if (state !== 'delivered') open.push(`${id}: ${JSON.stringify(messageField(json, 'delivery'))}`);
    }
    return open;
  }

  /** Differences between the sends and the three inboxes. */
  async receipts(near: string, far: string): Promise<readonly string[]> {
    const wrong: string[] = [];
    const inboxes = {
      near: await inboxOf(near, 'near'),
      topic: await inboxOf(near, 'listener'),
      far: await inboxOf(far, 'far'),
    };
    const receipts = new Map<string, Entry[]>();
    for (const [where, entries] of Object.entries(inboxes)) {
      for (const entry of entries) {
        const key = `${where} ${entry.messageId}`;
        receipts.set(key, [...(receipts.get(key) ?? []), entry]);
      }
    }
    for (const [id, { to, isCall, acknowledged }] of this.sends) {
      const found = receipts.get(`${to} ${id}`) ?? [];
      receipts.delete(`${to} ${id}`);
      if (found.length > 1) wrong.push(`${id} has ${found.length} receipts`);
      if (acknowledged && found.length === 0) wrong.push(`${id} was acknowledged and did not arrive`);
      const [entry] = found;
      if (entry === undefined) continue;
      if (entry.state !== (isCall ? 'executed' : 'received')) wrong.push(`${id} is ${entry.state}`);
      if (isCall && at(entry.answer, 'result') !== id && at(entry.answer, 'error', 'code') === undefined)
        wrong.push(`${id} has the answer ${JSON.stringify(entry.answer)}`);
      if (!isCall && at(entry.content, 'said') !== id) wrong.push(`${id} says ${JSON.stringify(entry.content)}`);
    }
    for (const key of receipts.keys()) wrong.push(`${key} arrived and was never sent`);
    return wrong;
  }

  /** Calls that ran more than once, by the lists that the calls wrote. */
  static ranTwice(directories: readonly string[]): readonly string[] {
    return directories.flatMap((directory) => {
      const lines = callLines(directory);
      return lines.filter((line, first) => lines.indexOf(line) !== first);
    });
  }
}

/** One line per call that a deployment ran. */
export function callLines(directory: string): readonly string[] {
  const path = `${directory}.calls`;
  if (!existsSync(path)) return []; // none yet
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '');
}

const TITLE = 'write-';
const titleOf = (n: number): string => TITLE + String(n);
const BATCH_TITLE = 'batch';
const TITLES = [...Array.from({ length: WRITES }, (_, n) => titleOf(n)), BATCH_TITLE];
/** `<kind>-<round>-<client>-<n>…` without the kind. */
const nameOf = (id: string): string => id.slice(id.indexOf('-') + 1);

/** Ids on all pages of a collection, in order. */
async function locations(url: string): Promise<readonly string[]> {
  const ids: string[] = [];
  for (let page: string | undefined = url; page !== undefined;) {
    const { json, headers } = await must('GET', page);
    const uris = json['X-OCCI-Location'] as readonly string[];
    ids.push(...uris.map((uri) => uri.slice(uri.lastIndexOf('/') + 1)));
    const [, next] = /<([^>]+)>; rel="next"/.exec(headers.get('link') ?? '') ?? [];
    page = next === undefined ? undefined : new URL(next, url).href;
  }
  return ids.sort();
}
