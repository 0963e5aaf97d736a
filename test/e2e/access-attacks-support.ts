/** What an attack tries to reach: a closed deployment with entities of alice, and how its answers are searched. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Json, JsonObject } from '@cmbs/shared';
import { layersOf, MEMBER_KIND, MESSAGE_KIND, NEIGHBOR_KIND } from '@cmbs/shared/broker';
import { EXTENSIONS } from '@cmbs/shared/config';
import { passiveExtensionsOf } from '@cmbs/shared/extensions';
import { type Action, type Category, categoryId, type Kind, LINK_KIND, RESOURCE_KIND } from '@cmbs/shared/occi';
import { PATIENCE_MS } from '../patience';
import { Deployment, freeSocket } from './harness';

/** Every text of alice's has the mark. It is not in an answer unless the request itself had it. */
export const MARK = `zq${randomBytes(5).toString('hex')}`;
/** Texts of the one message that the token may read. */
export const SHOWN = `zs${randomBytes(5).toString('hex')}`;
/** In place of the mark: paths at which nothing is. */
export const ABSENT = `zn${randomBytes(5).toString('hex')}`;

export const LAYERS = layersOf();
export const CATEGORIES: readonly Category[] = passiveExtensionsOf(EXTENSIONS, LAYERS).flatMap(
  ({ categories }) => categories,
);
export const ACTIONS: readonly Action[] = CATEGORIES.filter((category) => category.class === 'action');

const ACCESS = 'http://houssem.org/cmbs/access#';
const INFRASTRUCTURE = 'http://schemas.ogf.org/occi/infrastructure#';
/** Categories that are defined at run time. */
const VAULTS = 'http://example.com/vaults#';
export const VAULT = {
  id: `${VAULTS}vault`,
  location: '/vault/',
  action: 'http://example.com/vaults/action#open',
};
export const SEALED = { id: `${VAULTS}sealed`, location: '/sealed/' };

export const ALICE = `${MARK}alice`;
export const ALICES_MEMBER = `/cmbs/member/${MARK}member`;
export const SHOWN_MESSAGE = `/cmbs/message/${SHOWN}-message`;
/** A place below which only alice has an entity. */
export const PLACE = `/${MARK}place/`;
export const TOPIC = `${MARK}topic`;

/** Values by which an attack filters. */
export const CODE = `${MARK}-code`;
export const HOSTNAME = `${MARK}-host`;

/** An entity of alice's. */
export interface Owned {
  readonly kind: string;
  readonly path: string;
  readonly mixins?: readonly string[];
  readonly attributes: JsonObject;
}

const message = (layer: string): Owned => ({
  kind: MESSAGE_KIND,
  path: `/cmbs/message/${MARK}${layer}`,
  mixins: [`http://houssem.org/cmbs#${layer}`],
  attributes: {
    'cmbs.message.message_content': { id: 1, method: 'echo.echo', params: [`${MARK}-content`] },
    'cmbs.message.headers': { note: `${MARK}-header` },
  },
});
const linked = (source: string, target: string): JsonObject => ({
  'occi.core.source': source,
  'occi.core.target': target,
});
const MESSAGES = LAYERS.names.map(message);
const [FIRST = message('l1'), SECOND = message('l2')] = MESSAGES;
const COMPUTE = `/compute/${MARK}compute`;

/**
 * Alice's entity of each kind, in the order in which they are created. A kind of the code without an entity here fails
 * the tests.
 */
export const OWNED: Readonly<Record<string, Owned>> = Object.fromEntries(
  (
    [
      FIRST,
      { kind: MEMBER_KIND, path: ALICES_MEMBER, attributes: { 'cmbs.member.topics': [TOPIC] } },
      { kind: RESOURCE_KIND, path: `/resource/${MARK}resource`, attributes: {} },
      { kind: LINK_KIND, path: `/link/${MARK}link`, attributes: linked(FIRST.path, SECOND.path) },
      {
        kind: NEIGHBOR_KIND,
        path: `/cmbs/neighbor/${MARK}neighbor`,
        attributes: linked(ALICES_MEMBER, ALICES_MEMBER),
      },
      { kind: `${ACCESS}user`, path: `/cmbs/access/user/${ALICE}`, attributes: {} },
      {
        kind: `${ACCESS}group`,
        path: `/cmbs/access/group/${MARK}group`,
        attributes: { 'cmbs.access.group.members': [`user:${ALICE}`] },
      },
      {
        kind: `${ACCESS}token`,
        path: `/cmbs/access/token/${MARK}token`,
        attributes: { 'cmbs.access.token.name': `${MARK}-name` },
      },
      {
        kind: `${ACCESS}rule`,
        path: `/cmbs/access/rule/${MARK}rule`,
        attributes: {
          'cmbs.access.rule.target': `entity:${FIRST.path}`,
          'cmbs.access.rule.allow': [`user:${ALICE}`],
        },
      },
      { kind: `${INFRASTRUCTURE}compute`, path: COMPUTE, attributes: { 'occi.compute.hostname': HOSTNAME } },
      { kind: `${INFRASTRUCTURE}network`, path: `/network/${MARK}network`, attributes: {} },
      {
        kind: `${INFRASTRUCTURE}storage`,
        path: `/storage/${MARK}storage`,
        attributes: { 'occi.storage.size': 1.0 },
      },
      {
        kind: `${INFRASTRUCTURE}networkinterface`,
        path: `/networkinterface/${MARK}interface`,
        attributes: linked(COMPUTE, `/network/${MARK}network`),
      },
      {
        kind: `${INFRASTRUCTURE}storagelink`,
        path: `/storagelink/${MARK}disk`,
        attributes: linked(COMPUTE, `/storage/${MARK}storage`),
      },
      {
        kind: VAULT.id,
        path: `${VAULT.location}${MARK}vault`,
        mixins: [SEALED.id],
        attributes: { 'vault.code': CODE },
      },
    ] satisfies readonly Owned[]
  ).map((one) => [one.kind, one]),
);

/** Alice's entities besides one of each kind. */
const MORE: readonly Owned[] = [
  ...MESSAGES.slice(1),
  { kind: VAULT.id, path: `${PLACE}one`, attributes: { 'vault.code': CODE } },
];

/** The kind that the actions of a scheme belong to. */
export function kindOf(action: Action): Kind {
  const id = categoryId(action);
  const offering = CATEGORIES.find((category) => category.class !== 'action' && category.actions.includes(id));
  const kinds = CATEGORIES.filter((category) => category.class === 'kind');
  const applies = offering?.class === 'mixin' ? offering.applies : [];
  const kind = offering?.class === 'kind' ? offering : kinds.find((one) => applies.includes(categoryId(one)));
  if (kind === undefined) throw new Error(`No kind has the action ${id}.`);
  return kind;
}

export interface Sent {
  readonly method: string;
  readonly target: string;
  readonly body?: Json;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Received {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
  /** Headers and body, without the texts that the request itself had. */
  readonly told: string;
}

/** Headers that differ between two answers to the same request. */
const VARYING = new Set(['date', 'content-length']);

/** Texts that have the mark, also in what is encoded, as a cursor is. */
export function marksIn(text: string, mark: string): boolean {
  if (text.includes(mark)) return true;
  for (const [token] of text.matchAll(/[\w+/=-]{12,}/g)) {
    if (Buffer.from(token, 'base64url').toString('latin1').includes(mark)) return true;
  }
  return false;
}

/** A caller with its own credentials. */
export class Caller {
  readonly #url: () => string;

  constructor(
    url: () => string,
    readonly authorization?: string,
  ) {
    this.#url = url;
  }

  async ask({ method, target, body, headers = {} }: Sent): Promise<Received> {
    const answer = await fetch(this.#url() + target, {
      method,
      redirect: 'manual',
      signal: AbortSignal.timeout(PATIENCE_MS),
      headers: {
        Accept: 'application/json',
        ...(this.authorization === undefined ? {} : { Authorization: this.authorization }),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await textOf(answer);
    const lines: string[] = [];
    answer.headers.forEach((value, name) => {
      if (!VARYING.has(name)) lines.push(`${name}: ${value}`);
    });
    const asked = [target, ...Object.values(headers), JSON.stringify(body ?? '')].join('\n');
    const told = toldBy([`${answer.status}`, ...lines, text].join('\n'), asked);
    return { status: answer.status, headers: answer.headers, body: text, told };
  }

  async must(status: number, sent: Sent): Promise<Received> {
    const answer = await this.ask(sent);
    if (answer.status === status) return answer;
    throw new Error(`${answer.status} instead of ${status} for ${JSON.stringify(sent)}: ${answer.body}`);
  }
}

/** The body; of an event stream, which does not end, the beginning. */
async function textOf(answer: Response): Promise<string> {
  if (answer.headers.get('content-type') !== 'text/event-stream') return answer.text();
  const reader = answer.body?.getReader();
  const { value } = (await reader?.read()) ?? {};
  await reader?.cancel();
  return Buffer.from((value as Uint8Array | undefined) ?? []).toString();
}

/** What an answer tells besides the names in the request: it may say that there is nothing at a path. */
export function toldBy(answer: string, asked: string): string {
  const named = [...decoded(asked).matchAll(/[\w.:/-]*z[qs][0-9a-f]{10}[\w-]+/g)].map(([name]) => name);
  const longestFirst = named.flatMap(partsOf).sort((a, b) => b.length - a.length);
  return longestFirst.reduce((told, name) => told.replaceAll(name, '…'), decoded(answer));
}

/** `/cmbs/member/x` names the member `x` too. */
const partsOf = (name: string): readonly string[] =>
  [name, ...name.split(/[/:]/)].filter((part) => MARKED.test(part));

/** A name with a mark, which is not the mark alone. */
const MARKED = /z[qs][0-9a-f]{10}./;

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** What an attack must not change. */
export interface Snapshot {
  /** The entity tag of each of alice's entities, by path. */
  readonly tags: Readonly<Record<string, string>>;
  /** Paths of all entities but those of mallory. */
  readonly paths: readonly string[];
  readonly inbox: string;
  readonly categories: string;
}

const PASSWORD = 'correct horse battery';

export class Attacked {
  readonly root: Caller;
  readonly nobody: Caller;
  readonly alice: Caller;
  /** A user who has nothing, and knows all paths. */
  readonly mallory: Caller;
  /** A token of alice's, which may read {@link SHOWN_MESSAGE} and nothing else. */
  token = new Caller(() => '');
  /** Addresses of alice's member, by layer. */
  readonly sockets: Record<string, string> = {};
  /** Id of the entry in the inbox of alice's member. */
  entry = '';
  readonly #deployment: Deployment;
  readonly #directory: string;

  private constructor(deployment: Deployment, directory: string) {
    this.#deployment = deployment;
    this.#directory = directory;
    const url = (): string => deployment.url;
    const basic = (name: string, password: string): Caller =>
      new Caller(url, `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`);
    this.nobody = new Caller(url);
    this.root = basic('root', PASSWORD);
    this.alice = basic(ALICE, `password of ${ALICE}`);
    this.mallory = basic('mallory', 'password of mallory');
  }

  static async start(): Promise<Attacked> {
    const directory = mkdtempSync(join(tmpdir(), 'cmbs-attacks-'));
    const passwordFile = join(directory, 'password');
    writeFileSync(passwordFile, `${PASSWORD}\n`);
    const env = {
      CMBS_IDENTITIES: 'basic,token',
      CMBS_ADMINISTRATORS: 'root',
      CMBS_ADMIN_PASSWORD_FILE: passwordFile,
      CMBS_EXTENSIONS: EXTENSIONS.join(','),
    };
    const attacked = new Attacked(await Deployment.start({ env }), directory);
    try {
      await attacked.#fill();
    } catch (error) {
      await attacked.close();
      throw error;
    }
    return attacked;
  }

  get url(): string {
    return this.#deployment.url;
  }

  async close(): Promise<void> {
    await this.#deployment.close();
    rmSync(this.#directory, { recursive: true });
  }

  async #fill(): Promise<void> {
    const { root, alice } = this;
    await root.must(200, { method: 'POST', target: '/-/', body: DEFINITIONS });
    for (const name of [ALICE, 'mallory']) {
      const attributes = { 'cmbs.access.user.password': `password of ${name}` };
      await this.#create(root, { kind: `${ACCESS}user`, path: `/cmbs/access/user/${name}`, attributes });
    }
    await this.#rule('topic', {
      target: `topic:${TOPIC}`,
      operations: ['topic.publish', 'topic.subscribe', 'message.deliver'],
      allow: [`user:${ALICE}`],
    });
    await this.#rule('place', {
      target: `entity:${PLACE}`,
      operations: ['entity.create'],
      allow: [`user:${ALICE}`],
    });
    for (const layer of LAYERS.names) this.sockets[layer] = await freeSocket();
    for (const owned of [...MESSAGES.slice(1), ...Object.values(OWNED)]) {
      if (owned.kind === `${ACCESS}user`) continue;
      const by = owned.kind === `${ACCESS}group` ? root : alice;
      await this.#create(by, owned.kind === MEMBER_KIND ? { ...owned, attributes: this.#member(owned) } : owned);
    }
    for (const owned of MORE.filter(({ path }) => path.startsWith(PLACE))) await this.#create(alice, owned);
    await this.#create(alice, {
      kind: MESSAGE_KIND,
      path: SHOWN_MESSAGE,
      attributes: { 'cmbs.message.message_content': `${SHOWN}-content` },
    });
    await this.#receive();
    const made = await alice.must(201, {
      method: 'POST',
      target: '/cmbs/access/token/',
      body: {
        kind: `${ACCESS}token`,
        id: `${MARK}low`,
        attributes: {
          'cmbs.access.token.operations': ['entity.read'],
          'cmbs.access.token.targets': [`entity:${SHOWN_MESSAGE}`],
        },
      },
    });
    this.token = new Caller(() => this.url, `Bearer ${made.headers.get('cmbs-token') ?? ''}`);
  }

  async #create(by: Caller, { kind, path, mixins = [], attributes }: Owned): Promise<void> {
    const title = kind.startsWith(ACCESS) ? undefined : `${path.includes(SHOWN) ? SHOWN : MARK}-title`;
    const body = { kind, mixins, attributes, ...(title === undefined ? {} : { title }) };
    await by.must(201, { method: 'PUT', target: path, body });
  }

  #rule(name: string, more: Record<string, Json>): Promise<void> {
    const attributes = Object.fromEntries(
      Object.entries(more).map(([key, value]) => [`cmbs.access.rule.${key}`, value]),
    );
    return this.#create(this.root, {
      kind: `${ACCESS}rule`,
      path: `/cmbs/access/rule/${MARK}${name}`,
      attributes,
    });
  }

  #member({ attributes }: Owned): JsonObject {
    const sockets = Object.entries(this.sockets).map(([layer, socket]) => [`cmbs.member.${layer}_socket`, socket]);
    return {
      ...attributes,
      ...(Object.fromEntries(sockets) as JsonObject),
      'cmbs.member.state': 'active',
      'cmbs.member.start': LAYERS.names,
    };
  }

  /** Alice's member receives a message of alice's. */
  async #receive(): Promise<void> {
    const { alice } = this;
    await this.#create(alice, { kind: MEMBER_KIND, path: ALICES_SENDER, attributes: {} });
    const sent = `/cmbs/message/${MARK}sent`;
    await this.#create(alice, {
      ...message('l1'),
      path: sent,
      attributes: {
        'cmbs.message.message_content': `${MARK}-content`,
        'cmbs.message.l1_socket_receiver_member': this.sockets.l1 ?? '',
      },
    });
    const body = { attributes: { from: `${MARK}sender` } };
    await alice.must(200, { method: 'POST', target: `${sent}?action=send_l1`, body });
    const inbox = JSON.parse(await this.#inbox()) as { readonly entries: readonly { readonly id: string }[] };
    const [entry] = inbox.entries;
    if (entry === undefined) throw new Error('The message did not arrive.');
    this.entry = entry.id;
  }

  async #inbox(): Promise<string> {
    return (await this.alice.must(200, { method: 'GET', target: `${ALICES_MEMBER}/inbox/?lease=0` })).body;
  }

  async snapshot(): Promise<Snapshot> {
    const { root } = this;
    const list = await root.must(200, { method: 'GET', target: '/', headers: { Accept: 'text/uri-list' } });
    const paths = list.body
      .split(/\s+/)
      .filter((line) => line !== '' && !line.includes('mallory'))
      .map((line) => new URL(line).pathname);
    const heads = await Promise.all(paths.map((target) => root.must(200, { method: 'HEAD', target })));
    const tags = Object.fromEntries(paths.map((path, at) => [path, heads[at]?.headers.get('etag') ?? 'none']));
    const categories = (await root.must(200, { method: 'GET', target: '/-/' })).body;
    return { tags, paths, inbox: await this.#inbox(), categories };
  }

  /** Deletes what mallory has made. */
  async clear(): Promise<void> {
    const { root } = this;
    const list = await root.must(200, { method: 'GET', target: '/', headers: { Accept: 'text/uri-list' } });
    for (const line of list.body.split(/\s+/).filter((path) => path.includes('mallory-'))) {
      await root.must(200, { method: 'DELETE', target: new URL(line).pathname });
    }
  }

  /** Sum of a counter over the samples with the labels. */
  async metric(name: string, labels: readonly string[]): Promise<number> {
    const { body } = await this.root.must(200, { method: 'GET', target: '/metrics' });
    return body
      .split('\n')
      .filter((line) => line.startsWith(`${name}{`) && labels.every((label) => line.includes(label)))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }
}

const ALICES_SENDER = `/cmbs/member/${MARK}sender`;

const DEFINITIONS: JsonObject = {
  actions: [{ term: 'open', scheme: VAULT.action.replace(/open$/, ''), title: 'Open', attributes: {} }],
  kinds: [
    {
      term: 'vault',
      scheme: VAULTS,
      title: 'Vault',
      parent: RESOURCE_KIND,
      location: VAULT.location,
      attributes: { 'vault.code': { type: 'string', mutable: true, required: false } },
      actions: [VAULT.action],
    },
  ],
  mixins: [{ term: 'sealed', scheme: VAULTS, title: 'Sealed', location: SEALED.location, attributes: {} }],
};
