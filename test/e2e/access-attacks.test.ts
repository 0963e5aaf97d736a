/**
 * Attacks on a closed deployment, made from the tables of the code: routes, methods, kinds, mixins, actions, layers,
 * service methods, renderings. Each attack is tried without credentials, by a user who knows all paths and has nothing,
 * and with a token that may read one message. Nothing of alice's is shown or changed. A new row in a table of the code
 * fails `the attacks cover …`, which says what to add here.
 */
import { newId, systemClock, type Json, type JsonObject } from '@cmbs/shared';
import { layerMixin, MEMBER_KIND, MESSAGE_KIND } from '@cmbs/shared/broker';
import { type Action, categoryId, LINK_KIND, RENDERINGS, RESOURCE_KIND } from '@cmbs/shared/occi';
import { standardServices } from '@cmbs/shared/services';
import { ROUTES, type Route } from '@cmbs/functions/routes';
import { METHODS } from '@cmbs/functions/serve';
import { Publisher } from 'zeromq';
import {
  ABSENT,
  ACTIONS,
  ALICES_MEMBER,
  Attacked,
  CATEGORIES,
  CODE,
  HOSTNAME,
  kindOf,
  LAYERS,
  MARK,
  marksIn,
  OWNED,
  PLACE,
  type Received,
  SEALED,
  type Sent,
  SHOWN,
  SHOWN_MESSAGE,
  type Snapshot,
  toldBy,
  TOPIC,
  VAULT,
} from './access-attacks-support';
import { ask, frameOf } from './broker-peers';
import { eventually, freeSocket } from './harness';

let attacked: Attacked;
let before: Snapshot;
beforeAll(async () => {
  attacked = await Attacked.start();
  before = await attacked.snapshot();
});
afterAll(() => attacked.close());
/** After each attack all that is alice's is as it was. */
function changesNothing(): void {
  afterEach(async () => {
    expect(await attacked.snapshot()).toEqual(before);
  });
}

const ATTACKERS = ['nobody', 'mallory', 'token'] as const;
type Attacker = (typeof ATTACKERS)[number];

type Status = number | readonly number[];
/** What each attacker gets. */
type Expected = readonly [nobody: Status, mallory: Status, token: Status];

/** A request of an attacker, and what it gets. */
interface Row extends Sent {
  readonly expected: Expected;
  /** Whether mallory gets the same answer where there is nothing at the path. */
  readonly isLikeAbsent?: boolean;
}

const everybody = (status: number): Expected => [status, status, status];

// --- Methods, and what is expected of them at each sort of path ---

/** Methods that are served, and those that a POST stands for. */
const ROW_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'POST as GET', 'POST as DELETE'] as const;
type Method = (typeof ROW_METHODS)[number];

type Place = Readonly<Record<Method, Expected>>;

function place({ rest, ...some }: Partial<Place> & { readonly rest: Expected }): Place {
  const { GET = rest, HEAD = GET, POST = rest, PUT = rest, DELETE = rest, OPTIONS = rest } = some;
  const { 'POST as GET': asGet = GET, 'POST as DELETE': asDelete = DELETE } = some;
  return { GET, HEAD, POST, PUT, DELETE, OPTIONS, 'POST as GET': asGet, 'POST as DELETE': asDelete };
}

const NOT_OFFERED = everybody(405);
/** What a collection that everybody who is known may list answers. */
const LISTED = { GET: [401, 200, 403], OPTIONS: [401, 204, 403] } as const satisfies Partial<Place>;

/** Something that mallory and the token may not know of. */
const HIDDEN = place({ rest: [401, 404, 404] });
/** The message that the token may read. */
const TO_READ = place({ GET: [401, 404, 200], OPTIONS: [401, 404, 204], rest: [401, 404, 403] });
/** A POST takes the id of alice's entity, and links at alice's entities. */
const OF_KIND = place({ ...LISTED, POST: [401, [400, 403, 409], 403], PUT: NOT_OFFERED, rest: [401, 200, 403] });
/** Mallory sees herself, and may not delete herself. */
const OF_USERS = place({ ...LISTED, POST: [401, 403, 403], PUT: NOT_OFFERED, rest: [401, 403, 403] });
/** A DELETE of all entities of the core's kinds needs `confirm=all`. */
const OF_CORE = place({ ...LISTED, POST: OF_KIND.POST, PUT: NOT_OFFERED, rest: everybody(400) });
/** The bodies name alice's message. A DELETE without a body takes the mixin from all entities. */
const OF_MIXIN = place({ ...LISTED, DELETE: [401, [200, 403], 403], rest: [401, 404, 403] });
/** A path below which only alice has something. */
const UNBOUND = place({ OPTIONS: LISTED.OPTIONS, PUT: NOT_OFFERED, rest: [401, 404, 403] });
/** Above the users, among whom mallory is. */
const ABOVE = place({ ...LISTED, POST: [401, 404, 403], PUT: NOT_OFFERED, rest: [401, 403, 403] });
/** A DELETE of everything needs `confirm=all`. */
const WHOLE = place({ ...LISTED, POST: [401, 409, 403], PUT: NOT_OFFERED, rest: everybody(400) });
/** An overridden DELETE has no body that names a category. */
const QUERY = place({ ...LISTED, rest: [401, 403, 403], 'POST as DELETE': everybody(400) });
const ALIVE = place({ GET: everybody(200), rest: NOT_OFFERED });
/** The local stack takes no pushes, since its companion pulls. */
const PUSHED = place({ POST: everybody(404), OPTIONS: everybody(204), rest: NOT_OFFERED });
/** The bodies are no calls. What a call may do is decided for its method; {@link CALLS} tries each. */
const CALLED = place({ POST: everybody(200), OPTIONS: everybody(204), rest: NOT_OFFERED });

// --- Paths for each pattern in the table of routes ---

interface Target {
  readonly place: Place;
  readonly path: () => string;
  /** The kind of an entity that is sent to the path. */
  readonly kind?: string;
}

interface Located {
  readonly id: string;
  readonly location: string | undefined;
}

/** Kinds of the core that can have entities. */
const CORE_KINDS: readonly Located[] = [
  { id: RESOURCE_KIND, location: '/resource/' },
  { id: LINK_KIND, location: '/link/' },
];
const located = (wanted: 'kind' | 'mixin'): readonly Located[] =>
  CATEGORIES.flatMap((one) => (one.class === wanted ? [{ id: categoryId(one), location: one.location }] : []));
const KINDS: readonly Located[] = [...CORE_KINDS, ...located('kind'), VAULT];
const MIXINS: readonly Located[] = [...located('mixin'), SEALED];

const alices = (kind: string): string => OWNED[kind]?.path ?? `/${MARK}none`;
const COMPUTE = 'http://schemas.ogf.org/occi/infrastructure#compute';
const ALICES_MESSAGE = alices(MESSAGE_KIND);
const entityOf = (kind: string): Target => ({ place: HIDDEN, path: () => alices(kind), kind });
/** Collections that differ from those of other kinds. */
const COLLECTIONS: Readonly<Record<string, Place>> = {
  'http://houssem.org/cmbs/access#user': OF_USERS,
  [RESOURCE_KIND]: OF_CORE,
  [LINK_KIND]: OF_CORE,
};
const collectionAt = ({ id: kind, location = '' }: Located): Target => ({
  place: COLLECTIONS[kind] ?? OF_KIND,
  path: () => location,
  kind,
});
const mixinAt = ({ location = '' }: Located): Target => ({ place: OF_MIXIN, path: () => location });
const at = (path: string, expected: Place, kind?: string): Target => ({
  place: expected,
  path: () => path,
  ...(kind === undefined ? {} : { kind }),
});
const hasLocation = ({ location }: Located): boolean => location !== undefined;

const PATTERNS: Readonly<Record<string, readonly Target[]>> = {
  '/-/': [at('/-/', QUERY)],
  '/.well-known/org/ogf/occi/-/': [at('/.well-known/org/ogf/occi/-/', QUERY)],
  '/cmbs/member/': [collectionAt({ id: MEMBER_KIND, location: '/cmbs/member/' })],
  '/cmbs/member/{id}': [entityOf(MEMBER_KIND)],
  '/cmbs/member/{id}/inbox/': [at(`${ALICES_MEMBER}/inbox/`, HIDDEN)],
  '/cmbs/member/{id}/inbox/{entry}': [{ place: HIDDEN, path: () => `${ALICES_MEMBER}/inbox/${attacked.entry}` }],
  '/cmbs/message/': [collectionAt({ id: MESSAGE_KIND, location: '/cmbs/message/' })],
  '/cmbs/message/{id}': [entityOf(MESSAGE_KIND), at(SHOWN_MESSAGE, TO_READ, MESSAGE_KIND)],
  '/cmbs/message/{mixin}/': [at('/cmbs/message/l1/', OF_MIXIN)],
  '/push/{subscription}': [at(`/push/member.${MARK}member.l32`, PUSHED), at('/push/dead-letter', PUSHED)],
  '/rpc': [at('/rpc', CALLED)],
  '/RPC2': [at('/RPC2', CALLED)],
  '/healthz': [at('/healthz', ALIVE)],
  '/readyz': [at('/readyz', ALIVE)],
  '/{path}/…': [
    ...KINDS.filter(({ id }) => id in OWNED).map(({ id }) => entityOf(id)),
    ...KINDS.filter(hasLocation).map(collectionAt),
    ...MIXINS.filter(hasLocation).map(mixinAt),
    at(PLACE, UNBOUND, VAULT.id),
    at(`${PLACE}one`, HIDDEN, VAULT.id),
    at('/cmbs/', ABOVE, MESSAGE_KIND),
    at('/', WHOLE, MESSAGE_KIND),
  ],
};

/** Query parameters that select a function, with a value. */
const FLAGS: Readonly<Record<string, string>> = { send: '' };

const SEALED_MIXIN = { term: 'sealed', scheme: 'http://example.com/vaults#', location: SEALED.location };

/** What an attacker sends with a method. */
function bodyFor(method: Method, { path, kind }: Target): Json | undefined {
  if (path().endsWith('/-/')) {
    const added = { term: 'added', scheme: 'http://example.com/vaults#', location: '/added/' };
    const bodies = { POST: added, PUT: { ...SEALED_MIXIN, title: 'changed' }, DELETE: SEALED_MIXIN };
    return method in bodies
      ? { mixins: [{ attributes: {}, ...bodies[method as keyof typeof bodies] }] }
      : undefined;
  }
  if (method !== 'POST' && method !== 'PUT') return undefined;
  if (kind === undefined) return { 'X-OCCI-Location': [attacked.url + ALICES_MESSAGE] };
  const { attributes = {}, path: own = '' } = OWNED[kind] ?? {};
  const id = path().endsWith('/') ? { id: own.slice(own.lastIndexOf('/') + 1) } : {};
  return { kind, ...id, attributes };
}

function sentAs(method: Method): Pick<Sent, 'method' | 'headers'> {
  const [sent = '', as] = method.split(' as ');
  return { method: sent, ...(as === undefined ? {} : { headers: { 'X-HTTP-Method-Override': as } }) };
}

/** The answer to an action on something at a place. Mallory has no entities on which the action would run. */
function ofAction({ place: there }: Target): Expected {
  if (there === OF_KIND) return [401, [200, 400], 403];
  if (there === OF_MIXIN) return [401, [200, 400], 403];
  // The token may read which actions the message has.
  return there === TO_READ ? [401, 404, [400, 403]] : there.POST;
}

function rowsOf(route: Route): readonly Row[] {
  const { action, flag } = route;
  const query =
    action === undefined
      ? flag === undefined
        ? ''
        : `?${flag}=${FLAGS[flag] ?? ''}`
      : `?action=${action[0] ?? ''}`;
  const expectedAt = (target: Target, method: Method): Expected => {
    if (query === '' || method === 'OPTIONS') return target.place[method];
    if (method !== 'POST') return NOT_OFFERED;
    return action === undefined ? target.place.POST : ofAction(target);
  };
  return route.paths.flatMap((pattern) =>
    (PATTERNS[pattern] ?? []).flatMap((target) =>
      ROW_METHODS.flatMap((method): readonly Row[] => {
        const body = bodyFor(method, target);
        const sent = { ...sentAs(method), ...(body === undefined ? {} : { body }) };
        const isLikeAbsent = method !== 'PUT' && (target.place === HIDDEN || target.place === UNBOUND);
        const row = { ...sent, expected: expectedAt(target, method), isLikeAbsent };
        const path = target.path() + query;
        // A client may call the function itself. That of an action takes POST alone.
        const isOffered = query === '' || method === 'POST';
        const urls = isOffered ? [path, `/fn/${route.name}${path}`] : [path];
        return urls.map((url) => ({ ...row, target: url }));
      }),
    ),
  );
}

/** Every path of {@link PATTERNS} that shows entities. */
const TARGETS = Object.values(PATTERNS)
  .flat()
  .filter(({ place: there }) => ![PUSHED, ALIVE, CALLED].includes(there));

// --- Attacks ---

const CHALLENGE = /^Basic realm="cmbs".*, Bearer realm="cmbs"/;

/** What is wrong with the answer to a row. */
function wrongIn(attacker: Attacker, { expected }: Row, { status, headers, told }: Received): readonly string[] {
  const wanted = expected[ATTACKERS.indexOf(attacker)] ?? [];
  const isSecretTold = marksIn(told, MARK) || (attacker !== 'token' && marksIn(told, SHOWN));
  return [
    ...([wanted].flat().includes(status) ? [] : [`${status} instead of ${String(wanted)}`]),
    ...(status !== 401 || CHALLENGE.test(headers.get('www-authenticate') ?? '') ? [] : ['no challenge']),
    ...(isSecretTold ? ['tells something of alice'] : []),
  ];
}

/** Sends the rows; resolves with what is wrong with their answers. */
async function attack(attacker: Attacker, rows: readonly Row[]): Promise<readonly string[]> {
  const wrong: string[] = [];
  for (const row of rows) {
    const { expected: _expected, isLikeAbsent = false, ...sent } = row;
    const answer = await attacked[attacker].ask(sent);
    const problems = [...wrongIn(attacker, row, answer)];
    if (attacker === 'mallory' && isLikeAbsent) {
      const absent = JSON.parse(JSON.stringify(sent).replaceAll(MARK, ABSENT)) as Sent;
      const same = (await attacked.mallory.ask(absent)).told.replaceAll(ABSENT, MARK);
      if (toldBy(same, JSON.stringify(sent)) !== answer.told)
        problems.push(`differs from an absent path: ${same}`);
    }
    if (problems.length > 0) wrong.push(`${problems.join('; ')}: ${JSON.stringify(sent)}: ${answer.told}`);
  }
  return wrong;
}

describe.each(ATTACKERS)('%s at the functions', (attacker) => {
  changesNothing();

  it.each([...new Set(ROUTES.map(({ paths }) => paths[0] ?? ''))])('at %s', async (path) => {
    const routes = ROUTES.filter(({ paths }) => paths[0] === path);
    expect(await attack(attacker, routes.flatMap(rowsOf))).toEqual([]);
  });

  it('at the metrics, which no function answers', async () => {
    const rows = [...METHODS].map((method): Row => ({ method, target: '/metrics', expected: [401, 403, 403] }));
    expect(await attack(attacker, rows)).toEqual([]);
  });

  it('with conditions', async () => {
    const conditions = [{ 'If-Match': '*' }, { 'If-Match': '"x"' }, { 'If-None-Match': '*' }];
    const rows = TARGETS.filter(({ place: there }) => there === HIDDEN || there === UNBOUND).flatMap((target) =>
      (['GET', 'POST', 'PUT', 'DELETE'] as const).flatMap((method) =>
        conditions.map((headers): Row => {
          const body = bodyFor(method, target);
          const isUnbound = target.place === UNBOUND;
          const refused: Expected = isUnbound ? [401, [404, 412], 403] : [401, 404, 404];
          const expected = isUnbound && method === 'PUT' ? ([401, [405, 412], 403] as const) : refused;
          const sent = { method, target: target.path(), headers, ...(body === undefined ? {} : { body }) };
          return { ...sent, expected, isLikeAbsent: isUnbound || method !== 'PUT' };
        }),
      ),
    );
    // The answers must not tell a caller without credentials whether there is an entity.
    const target = `/cmbs/message/${ABSENT}`;
    const unknown = { kind: 'http://example.com/vaults#none', attributes: {} };
    const absent: readonly Row[] = [
      { method: 'PUT', target, body: unknown, expected: [401, 400, 403] },
      {
        ...{ method: 'PUT', target, body: { kind: MESSAGE_KIND, attributes: {} }, headers: { 'If-Match': '*' } },
        expected: [401, 412, 403],
      },
    ];
    expect(await attack(attacker, [...rows, ...absent])).toEqual([]);
  });

  it('in every rendering', async () => {
    const types = [...RENDERINGS.accepted.split(', '), 'text/event-stream', '*/*'];
    const rows = TARGETS.filter(({ place: there }) => there !== OF_MIXIN).flatMap((target) =>
      types.map((type): Row => {
        const [nobody, mallory, token] = target.place.GET;
        // A rendering may be for collections only.
        const orRefused = (status: Status): Status => [...[status].flat(), 400, 406];
        const expected: Expected = [orRefused(nobody), orRefused(mallory), orRefused(token)];
        const isLikeAbsent = target.place === HIDDEN || target.place === UNBOUND;
        return { method: 'GET', target: target.path(), headers: { Accept: type }, expected, isLikeAbsent };
      }),
    );
    expect(await attack(attacker, rows)).toEqual([]);
  });

  it('by paths without the slash of their collection', async () => {
    const paths = ['/-', '/vault', '/sealed', '/cmbs/message', `${ALICES_MEMBER}/inbox`];
    const rows = paths.flatMap((target) =>
      ['GET', 'POST'].map((method): Row => ({ method, target, expected: [401, 308, 403], isLikeAbsent: true })),
    );
    expect(await attack(attacker, rows)).toEqual([]);
  });

  it('by pages and filters that name what is hidden', async () => {
    const link = (await attacked.alice.must(200, { method: 'GET', target: '/cmbs/message/?number=1' })).headers;
    const [, cursor = ''] = /[?&]cursor=([^&>]+)/.exec(link.get('link') ?? '') ?? [];
    expect(cursor).not.toBe('');
    const queries = [
      'number=1',
      'page=2&number=1',
      `cursor=${cursor}`,
      `q=${CODE}`,
      `category=${encodeURIComponent(VAULT.id)}`,
      `category=${encodeURIComponent(SEALED.id)}&number=1`,
      `attribute=vault.code&value=${CODE}`,
      `attribute=occi.compute.hostname&value=${HOSTNAME}`,
      `attribute=occi.core.source&value=${encodeURIComponent(ALICES_MESSAGE)}`,
    ];
    const rows = ['/', '/vault/', '/compute/', '/cmbs/message/', '/link/', '/sealed/'].flatMap((collection) =>
      queries.map((query): Row => ({
        ...{ method: 'GET', target: `${collection}?${query}` },
        ...{ expected: [401, 200, 403], isLikeAbsent: true },
      })),
    );
    const terms = { Category: 'vault; scheme="http://example.com/vaults#"; class="kind"' };
    const byHeaders = ['/', '/vault/'].map((target): Row => ({
      ...{ method: 'GET', target, headers: { ...terms, 'X-OCCI-Attribute': `vault.code="${CODE}"` } },
      ...{ expected: [401, 200, 403], isLikeAbsent: true },
    }));
    const deleting = ['/vault/', '/compute/'].map((collection): Row => ({
      ...{ method: 'DELETE', target: `${collection}?q=${CODE}` },
      ...{ expected: [401, 200, 403], isLikeAbsent: true },
    }));
    expect(await attack(attacker, [...rows, ...byHeaders, ...deleting])).toEqual([]);
  });

  it('by several entities in one request', async () => {
    const own = { kind: VAULT.id, id: 'mallory-own', attributes: {} };
    const taken = { kind: VAULT.id, id: `${MARK}vault`, attributes: {} };
    const link = (source: string, target: string): JsonObject => ({
      kind: 'http://schemas.ogf.org/occi/core#link',
      id: 'mallory-link',
      attributes: { 'occi.core.source': source, 'occi.core.target': target },
    });
    const inline = (target: string): JsonObject => ({
      ...own,
      links: [{ kind: 'http://schemas.ogf.org/occi/core#link', id: 'mallory-link', target, attributes: {} }],
    });
    const named = (...paths: readonly string[]): JsonObject => ({
      'X-OCCI-Location': paths.map((path) => attacked.url + path),
    });
    const post = (target: string, body: Json, mallory: Status, more: Partial<Row> = {}): Row => ({
      ...{ method: 'POST', target, body, expected: [401, mallory, 403], ...more },
    });
    const alike = { isLikeAbsent: true };
    const vault = alices(VAULT.id);
    const rows: readonly Row[] = [
      post('/', { resources: [own, taken] }, 409),
      post('/vault/', { resources: [taken, own] }, 409),
      post('/', { resources: [own], links: [link('/vault/mallory-own', vault)] }, 400, alike),
      post('/', { resources: [own], links: [link(vault, '/vault/mallory-own')] }, 400, alike),
      post('/link/', link(ALICES_MESSAGE, vault), 400, alike),
      post('/vault/', inline(vault), 400, alike),
      post('/sealed/', named(vault), 404, alike),
      post('/sealed/', named(`/vault/${ABSENT}`, vault), 404),
      { ...post('/sealed/', named(vault), 404, alike), method: 'PUT' },
      { ...post('/sealed/', named(vault), 404, alike), method: 'DELETE' },
      { ...post('/vault/', named(vault), 200, alike), method: 'DELETE' },
      { ...post('/compute/', named(alices(COMPUTE)), 200, alike), method: 'DELETE' },
      { ...post('/?confirm=all', named(vault), 200, alike), method: 'DELETE' },
    ];
    expect(await attack(attacker, rows)).toEqual([]);
  });

  it('by the key of a request of the owner', async () => {
    const id = `${MARK}again-${attacker}`;
    const body = { kind: VAULT.id, id, attributes: { 'vault.code': CODE } };
    const create: Sent = { method: 'POST', target: '/vault/', body, headers: { 'Idempotency-Key': `1-${id}` } };
    const remove: Sent = { method: 'DELETE', target: `/vault/${id}`, headers: { 'Idempotency-Key': `2-${id}` } };
    await attacked.alice.must(201, create);
    const gone: Row = { ...remove, expected: [401, 404, 404] };
    expect(await attack(attacker, [{ ...create, expected: [401, 409, 403] }, gone])).toEqual([]);
    await attacked.alice.must(200, remove);
    expect(await attack(attacker, [gone])).toEqual([]);
  });

  it('by rules, users, groups and tokens of its own', async () => {
    const access = (term: string, id: string, more: Record<string, Json>): Sent => {
      const attributes = Object.entries(more).map(([name, value]) => [`cmbs.access.${term}.${name}`, value]);
      const kind = `http://houssem.org/cmbs/access#${term}`;
      const body = { kind, id, attributes: Object.fromEntries(attributes) as JsonObject };
      return { method: 'POST', target: `/cmbs/access/${term}/`, body };
    };
    const refused: Expected = [401, 403, 403];
    const rows: readonly Row[] = [
      ...[`entity:${ALICES_MESSAGE}`, 'entity:/', `member:${ALICES_MEMBER}`, `topic:${TOPIC}`, 'method:'].map(
        (target): Row => ({
          ...access('rule', 'mallory-rule', { target, allow: ['everybody'] }),
          ...{ expected: refused, isLikeAbsent: true },
        }),
      ),
      { ...access('user', 'mallory-2', { password: 'a password of mallory' }), expected: refused },
      { ...access('group', 'admins', { members: ['user:mallory'] }), expected: refused },
    ];
    expect(await attack(attacker, rows)).toEqual([]);
  });
});

// --- Actions ---

/** Actions besides those of layers, with their attributes. */
const ACTION_ATTRIBUTES: Readonly<Record<string, JsonObject>> = {
  'member check_neighbors': {},
  'message execute': {},
  'message resend': {},
  'message purge': {},
  'compute start': {},
  'compute stop': { method: 'graceful' },
  'compute restart': { method: 'warm' },
  'compute suspend': { method: 'suspend' },
  'compute save': { method: 'hot', name: 'taken' },
  'network up': {},
  'network down': {},
  'storage online': {},
  'storage offline': {},
  'storage backup': {},
  'storage snapshot': {},
  'storage resize': { size: 2.0 },
};
/** Attributes of a message that would reach alice's member on each layer, and the status of mallory's attempt. */
const LAYER_MESSAGES: Readonly<
  Record<string, { readonly attributes: () => JsonObject; readonly status: Status }>
> = {
  l1: {
    attributes: () => ({ 'cmbs.message.l1_socket_receiver_member': attacked.sockets.l1 ?? '' }),
    status: [403, 404, 409],
  },
  // There is nobody to whom mallory may send.
  l2: { attributes: () => ({}), status: 200 },
  l31: {
    attributes: () => ({ 'cmbs.message.providers': [`${MARK}member`, `${MARK}-title`] }),
    // A provider to whom mallory may not send counts as unknown.
    status: 400,
  },
  l32: { attributes: () => ({ 'cmbs.message.topics': [TOPIC] }), status: 403 },
  l4: {
    attributes: () => ({ 'cmbs.message.topics': [TOPIC], 'cmbs.message.providers': [`${MARK}member`] }),
    status: 403,
  },
};

const nameOf = (action: Action): string => `${kindOf(action).term} ${action.term}`;
const actionsOfLayers = Object.keys(LAYER_MESSAGES).flatMap((layer) => [
  `member start_${layer}`,
  `member stop_${layer}`,
  `message send_${layer}`,
]);

/** Alice's entity that has an action: of messages, the one with the mixin of the layer. */
function actedOn(action: Action): string {
  const layer = LAYERS.names.find((name) => action.term === `send_${name}`);
  return layer === undefined ? alices(categoryId(kindOf(action))) : `/cmbs/message/${MARK}${layer}`;
}

function rowsOfAction(action: Action): readonly Row[] {
  const id = categoryId(action);
  const attributes = ACTION_ATTRIBUTES[nameOf(action)] ?? {};
  const body = { action: id, attributes };
  const { location = '' } = kindOf(action);
  const path = actedOn(action);
  const query = `?action=${action.term}`;
  const inLinks = { ...body, 'X-OCCI-Location': [attacked.url + path] };
  // A collection of a kind has no actions of mixins.
  const onCollection: Expected = [401, [200, 400], 403];
  return [
    { method: 'POST', target: path + query, body, expected: [401, 404, 404], isLikeAbsent: true },
    { method: 'POST', target: location + query, body, expected: onCollection },
    { method: 'POST', target: location + query, body: inLinks, expected: onCollection, isLikeAbsent: true },
    { method: 'POST', target: `/${query}`, body: inLinks, expected: [401, 404, 403], isLikeAbsent: true },
    { method: 'POST', target: SHOWN_MESSAGE + query, body, expected: [401, 404, [400, 403]] },
  ];
}

describe.each(ATTACKERS)('%s by actions', (attacker) => {
  changesNothing();

  it('of the code', async () => {
    expect(await attack(attacker, ACTIONS.flatMap(rowsOfAction))).toEqual([]);
  });

  it('that were defined at run time', async () => {
    const body = { action: VAULT.action, attributes: {} };
    const path = alices(VAULT.id);
    const rows: readonly Row[] = [
      { method: 'POST', target: `${path}?action=open`, body, expected: [401, 404, 404], isLikeAbsent: true },
      { method: 'POST', target: '/vault/?action=open', body, expected: [401, 200, 403] },
    ];
    expect(await attack(attacker, rows)).toEqual([]);
  });
});

// --- Messages and members of mallory, which name what is alice's ---

/** Methods of service modules that every program has, with arguments. */
const CALLS: Readonly<Record<string, readonly Json[]>> = {
  'echo.echo': ['x'],
  ...Object.fromEntries(
    ['list_methods', 'listMethods', 'get_capabilities', 'getCapabilities', 'list_modules', 'discover']
      .concat('auth', 'logout', 'whoami', 'stats')
      .map((name) => [`system.${name}`, []]),
  ),
  ...Object.fromEntries(
    ['method_help', 'methodHelp', 'method_signature', 'methodSignature'].map((name) => [
      `system.${name}`,
      ['echo.echo'],
    ]),
  ),
  'system.multicall': [[{ methodName: 'echo.echo', params: ['x'] }]],
};

const METHODS_OF_SERVICES = standardServices({ clock: systemClock, newId }).list();
/** Methods that tell what is known about every deployment, and `multicall`, which decides each call inside. */
const FOR_EVERYBODY: ReadonlySet<string> = new Set(
  METHODS_OF_SERVICES.filter(({ flags }) => flags.callers === 'everybody').map(({ name }) => name),
);

describe('mallory', () => {
  const own = '/cmbs/message/mallory-message';
  const member = '/cmbs/member/mallory-member';
  changesNothing();
  afterEach(() => attacked.clear());

  const put = (path: string, kind: string, attributes: JsonObject, layer?: string): Promise<Received> => {
    const mixins = layer === undefined ? [] : [layerMixin(layer)];
    return attacked.mallory.ask({ method: 'PUT', target: path, body: { kind, mixins, attributes } });
  };
  const act = (path: string, term: string, attributes: JsonObject = {}): Promise<Received> =>
    attacked.mallory.ask({ method: 'POST', target: `${path}?action=${term}`, body: { attributes } });
  const read = (target: string): Promise<Received> => attacked.mallory.must(200, { method: 'GET', target });
  /** What the answers tell of alice's beside what was asked. */
  const tellsOfAlice = (asked: string, ...answers: readonly Received[]): readonly string[] =>
    answers.map(({ told }) => toldBy(told, asked)).filter((told) => marksIn(told, MARK) || marksIn(told, SHOWN));

  it.each(LAYERS.names)('reaches nobody by a message on %s', async (layer) => {
    const { attributes = () => ({}), status = [] } = LAYER_MESSAGES[layer] ?? {};
    expect((await put(member, MEMBER_KIND, {})).status).toBe(201);
    expect((await put(own, MESSAGE_KIND, attributes(), layer)).status).toBe(201);
    const sent = await act(own, `send_${layer}`, { from: 'mallory-member' });
    expect([status].flat()).toContain(sent.status);
    const now = await read(own);
    const asked = JSON.stringify(attributes());
    expect(tellsOfAlice(asked, sent, now)).toEqual([]);
    const body = {
      id: 'mallory-second',
      kind: MESSAGE_KIND,
      mixins: [layerMixin(layer)],
      attributes: attributes(),
    };
    const target = '/cmbs/message/?send&from=mallory-member';
    const both = await attacked.mallory.ask({ method: 'POST', target, body });
    expect([status].flat()).toContain(both.status);
    expect(tellsOfAlice(asked, both)).toEqual([]);
  });

  it('sends and executes nothing as a member of alice, and learns of none', async () => {
    const call = { method: 'echo.echo', params: ['x'] };
    await put(
      own,
      MESSAGE_KIND,
      { 'cmbs.message.message_content': call, ...LAYER_MESSAGES.l1?.attributes() },
      'l1',
    );
    const names = [`${MARK}member`, ALICES_MEMBER, attacked.url + ALICES_MEMBER, `${MARK}-title`];
    for (const from of names) {
      for (const term of ['send_l1', 'execute']) {
        const refused = await act(own, term, { from });
        const absent = await act(own, term, { from: from.replaceAll(MARK, ABSENT) });
        expect([refused.status, absent.status]).toEqual([400, 400]);
        expect(refused.body.replaceAll(MARK, ABSENT)).toBe(absent.body);
      }
    }
    expect(tellsOfAlice('', await act(own, 'send_l1'), await act(own, 'execute'))).toEqual([]);
  });

  it('calls no method that a rule denies', async () => {
    const denied = {
      'cmbs.access.rule.target': 'method:',
      'cmbs.access.rule.operations': ['service.call'],
      'cmbs.access.rule.deny': ['user:mallory'],
    };
    const body = { kind: 'http://houssem.org/cmbs/access#rule', attributes: denied };
    await attacked.root.must(201, { method: 'PUT', target: '/cmbs/access/rule/mallory-calls', body });
    await put(member, MEMBER_KIND, {});
    for (const [method, params] of Object.entries(CALLS)) {
      const content = { id: 1, method, params };
      await put(own, MESSAGE_KIND, { 'cmbs.message.message_content': content });
      const executed = await act(own, 'execute', { from: 'mallory-member' });
      expect(executed.status).toBe(200);
      const { attributes } = JSON.parse(executed.body) as { readonly attributes: JsonObject };
      expect(attributes['cmbs.message.result']).toMatchObject({ error: { data: { code: 'forbidden' } } });
      const called = await attacked.mallory.ask({ method: 'POST', target: '/rpc', body: content });
      expect(called.status).toBe(200);
      expect(JSON.parse(called.body)).toMatchObject({ error: { data: { code: 'forbidden' } } });
    }
  });

  it("gets nothing by a member with an address of alice's member", async () => {
    for (const layer of LAYERS.names) {
      const socket = attacked.sockets[layer] ?? '';
      const made = await put(member, MEMBER_KIND, { [`cmbs.member.${layer}_socket`]: socket });
      const started = await act(member, `start_${layer}`);
      expect(
        tellsOfAlice('', made, started, await attacked.mallory.ask({ method: 'GET', target: member })),
      ).toEqual([]);
      await attacked.clear();
    }
  });

  it('gets no description of the member at an address, nor registers it', async () => {
    await put(member, MEMBER_KIND, { 'cmbs.member.neighbors_socket': [attacked.sockets.l1 ?? ''] });
    const found = await act(member, 'check_neighbors');
    expect(found.status).toBe(200);
    expect(tellsOfAlice('', found, await read(member))).toEqual([]);
  });

  it("learns no name by a message for a member that is elsewhere, at alice's address", async () => {
    await put(member, MEMBER_KIND, {});
    const elsewhere = { 'cmbs.member.local': 'false', 'cmbs.member.l31_socket': attacked.sockets.l31 ?? '' };
    expect((await put('/cmbs/member/mallory-elsewhere', MEMBER_KIND, elsewhere)).status).toBe(201);
    await put(own, MESSAGE_KIND, { 'cmbs.message.providers': ['mallory-elsewhere'] }, 'l31');
    const sent = await attacked.mallory.ask({
      ...{ method: 'POST', target: `${own}?action=send_l31`, headers: { Prefer: 'wait=2' } },
      body: { attributes: { from: 'mallory-member' } },
    });
    expect(sent.status).toBeLessThan(500);
    expect(tellsOfAlice('', sent, await read(own))).toEqual([]);
  });
});

// --- Frames without a proof ---

/** Frames that a peer can make up for a layer, by what is tried. */
function framesFor(layer: string): Readonly<Record<string, string>> {
  const description = {
    kind: MEMBER_KIND,
    id: `${MARK}member`,
    attributes: { cmbs: { member: { l1_socket: 'tcp://127.0.0.1:9' } } },
  };
  const origin = { deployment: 'x', revision: 9e15, uri: attacked.url + ALICES_MEMBER };
  const transfer = { v: 1, send_id: 'x', proof: 'x'.repeat(43) };
  const topics = LAYERS.of(layer).channel === 'bus' ? { topics: [TOPIC] } : {};
  const frames: Readonly<Record<string, JsonObject>> = {
    'a message': {},
    'a message on a topic': { topics: [TOPIC] },
    'a message that has been here': { ...topics, path_history: [attacked.url + ALICES_MEMBER] },
    "a message in alice's name": { ...topics, transfer: { ...transfer, origin, hops: [`x/${MARK}sender`] } },
    'a description': { message_content: description },
    'a question for a description': { message_content: '' },
    ...Object.fromEntries(
      Object.entries(CALLS).map(([method, params]) => [
        `a call of ${method}`,
        { executable: 'True', message_content: { id: 1, method, params } },
      ]),
    ),
  };
  return Object.fromEntries(
    Object.entries(frames).map(([what, fields]) => [what, frameOf(`${MARK}${layer}`, fields, layer)]),
  );
}

/** Broadcasts that a member has refused. */
const refusedBroadcasts = (layer: string): Promise<number> =>
  attacked.metric('cmbs_dropped', [`layer="${layer}"`, 'reason="unauthenticated"']);

describe.each(LAYERS.names)('a frame on %s that proves nothing', (layer) => {
  changesNothing();
  afterEach(() => attacked.clear());
  const isBroadcast = LAYERS.of(layer).channel === 'broadcast';

  it('is refused, and the answer tells nothing, not even who answers', async () => {
    const frames = Object.entries(framesFor(layer));
    if (isBroadcast) return expectRefusedBroadcasts(layer, frames);
    const address = attacked.sockets[layer] ?? '';
    for (const [what, frame] of frames) {
      const reply = await ask(address, frame);
      const refused = { error: { code: 'unauthenticated', message: expect.any(String) as string } };
      expect({ what, reply }).toEqual({ what, reply: refused });
      expect(marksIn(toldBy(JSON.stringify(reply), frame), MARK)).toBe(false);
    }
    const reply = await ask(address, frameOf('misdirected', { transfer: { v: 1, to: ['somebody'] } }, layer));
    expect(reply).toMatchObject({ error: { code: 'misdirected' } });
    expect(JSON.stringify(reply)).not.toContain(MARK);
  });

  it('calls only what everybody may call where a rule takes messages from everybody', async () => {
    const socket = await freeSocket();
    const path = `/cmbs/member/mallory-open`;
    const made = {
      kind: MEMBER_KIND,
      attributes: { [`cmbs.member.${layer}_socket`]: socket, 'cmbs.member.start': [layer] },
    };
    await attacked.alice.must(201, { method: 'PUT', target: path, body: made });
    const attributes = {
      'cmbs.access.rule.target': `member:${path}`,
      'cmbs.access.rule.operations': ['message.receive'],
      'cmbs.access.rule.allow': ['everybody'],
    };
    const rule = { kind: 'http://houssem.org/cmbs/access#rule', attributes };
    await attacked.alice.must(201, { method: 'PUT', target: '/cmbs/access/rule/mallory-open', body: rule });
    for (const [method, params] of Object.entries(CALLS)) {
      const content = { executable: 'True', storable: 'False', message_content: { id: 1, method, params } };
      const frame = frameOf(`mallory-${method}`, content, layer);
      const answer = isBroadcast ? await answerTo(path, frame, socket) : (await ask(socket, frame)).result;
      const refused = { error: { code: -32000, data: { code: 'unauthenticated' } } };
      if (!FOR_EVERYBODY.has(method)) expect({ method, answer }).toMatchObject({ method, answer: refused });
      expect(marksIn(toldBy(JSON.stringify(answer), frame), MARK)).toBe(false);
    }
  });
});

/** Sends a broadcast until it has arrived. */
async function broadcast<T>(
  socket: string,
  frame: string,
  probe: () => Promise<T>,
  wanted: (value: T) => boolean,
): Promise<T> {
  const publisher = new Publisher({ linger: 0 });
  try {
    publisher.connect(socket);
    return await eventually(
      async () => {
        await publisher.send(frame);
        return probe();
      },
      wanted,
      'the broadcast has arrived',
    );
  } finally {
    publisher.close();
  }
}

async function expectRefusedBroadcasts(
  layer: string,
  frames: readonly (readonly [what: string, frame: string])[],
): Promise<void> {
  for (const [, frame] of frames) {
    const earlier = await refusedBroadcasts(layer);
    const probe = (): Promise<number> => refusedBroadcasts(layer);
    await broadcast(attacked.sockets[layer] ?? '', frame, probe, (count) => count > earlier);
  }
}

/** The answer to a call in a broadcast, which the inbox of the member has. */
async function answerTo(path: string, frame: string, socket: string): Promise<Json | undefined> {
  const { id } = JSON.parse(frame) as { readonly id: string };
  const entry = await broadcast(
    socket,
    frame,
    async () => {
      const { body } = await attacked.alice.must(200, { method: 'GET', target: `${path}/inbox/?lease=0` });
      const { entries } = JSON.parse(body) as { readonly entries: readonly JsonObject[] };
      return entries.find(({ message_id }) => message_id === id);
    },
    (found) => found?.answer !== undefined,
  );
  return entry?.answer;
}

describe('the attacks cover', () => {
  const methodsOfServices = METHODS_OF_SERVICES.map(({ name }) => name);
  /** For each table of the code: its rows, those that the attacks have, and how to add one. */
  const tables: readonly (readonly [
    what: string,
    ofCode: readonly string[],
    tried: readonly string[],
    how: string,
  ])[] = [
    [
      'the methods',
      [...METHODS],
      ROW_METHODS.filter((method) => !method.includes(' ')),
      'add it to ROW_METHODS and to `place`',
    ],
    [
      'the paths of the functions',
      [...new Set(ROUTES.flatMap(({ paths }) => paths))],
      Object.keys(PATTERNS),
      'add paths to PATTERNS, each with what is expected there',
    ],
    [
      'the query parameters of the functions',
      ROUTES.flatMap(({ flag }) => flag ?? []),
      Object.keys(FLAGS),
      'add it to FLAGS',
    ],
    ['the kinds', KINDS.map(({ id }) => id), Object.keys(OWNED), 'add an entity of alice to OWNED'],
    [
      'the layers',
      LAYERS.names,
      Object.keys(LAYER_MESSAGES),
      'add a message that would reach alice to LAYER_MESSAGES',
    ],
    [
      'the actions',
      ACTIONS.map(nameOf),
      [...Object.keys(ACTION_ATTRIBUTES), ...actionsOfLayers],
      'add its attributes to ACTION_ATTRIBUTES',
    ],
    ['the methods of the services', methodsOfServices, Object.keys(CALLS), 'add its arguments to CALLS'],
  ];

  it.each(tables)('%s', (_what, ofCode, tried, how) => {
    const missing = ofCode.filter((name) => !tried.includes(name)).map((name) => `${name} is new: ${how}`);
    const gone = tried.filter((name) => !ofCode.includes(name)).map((name) => `${name} is gone: take it out`);
    expect([...missing, ...gone]).toEqual([]);
  });
});
