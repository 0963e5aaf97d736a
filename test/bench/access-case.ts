/**
 * What access costs: requests with a token compared with requests to a stack without identities, and decisions with very
 * many rules compared with decisions with few.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CmbsError, type JsonObject, type Principal, type Resource, silentLog, systemClock } from '@cmbs/shared';
import { ACCESS_CATEGORIES, type Access, accessOf } from '@cmbs/shared/access';
import { CMBS_EXTENSION, MEMBER_KIND, MESSAGE_KIND } from '@cmbs/shared/broker';
import { Categories, type CategoryRegistry, writeEntity } from '@cmbs/shared/occi';
import type { Store } from '@cmbs/shared/store';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import { countedStore } from '../integration/counted-store';
import { askOnce, loadHttp, requestText } from './http-load';
import { messageEntity } from './messages';
import { Product, type ProductOptions } from './programs';
import { atLeast, atMost, compared, type Contestant, inTurn, median, type Row } from './rounds';

const TYPE = 'application/json';
const ROUNDS = 7;
const ROUND_MS = 350;
const FEW = 10;
const MANY = 100_000;
/** Rules that one transaction writes. */
const BATCH = 500;
/** Messages that decisions are about; fewer than the decisions that are kept in memory. */
const RESOURCES = 1000;
/** Decisions of a round. */
const DECISIONS = 100_000;
/** Decisions with nothing in memory of a round. */
const READING_DECISIONS = 200;
const AIM_MICROS = 20;
const PAGE_OF_ALL = '/cmbs/message/?number=100';
/** Entities on a page, all of the caller; as many belong to another user. */
const PAGE = 100;
const PAGES = 10;
/**
 * Documents that a decision with nothing in memory may read, by as many calls of the store at most: the rules of four
 * levels of a path and three of a category, the groups of the caller, and the group that the rule names.
 */
const AIM_READS = 13;

const ACCESS = 'http://houssem.org/cmbs/access#';
const ADMINISTRATOR = 'root';
const PASSWORD = 'correct horse battery';
const CLOSED = { CMBS_ADMINISTRATORS: ADMINISTRATOR };

const basic = (name: string): string => `Basic ${Buffer.from(`${name}:${PASSWORD}`).toString('base64')}`;

interface Prepared {
  /** The data directory. */
  readonly directory: string;
  readonly authorization: string;
  /** The message of the user with the token. */
  readonly path: string;
}

/** Makes a user with a token and a message. */
async function prepare(scratch: string): Promise<Prepared> {
  const passwordFile = join(scratch, 'password');
  await writeFile(passwordFile, PASSWORD);
  const directory = join(scratch, 'closed');
  const product = await Product.start({
    directory,
    settings: { ...CLOSED, CMBS_IDENTITIES: 'basic,token', CMBS_ADMIN_PASSWORD_FILE: passwordFile },
  });
  const send = (caller: string, method: string, path: string, entity: unknown): ReturnType<typeof askOnce> => {
    const headers = { Authorization: basic(caller), Accept: TYPE, 'Content-Type': TYPE };
    return askOnce(product.port, requestText(method, path, headers, JSON.stringify(entity)));
  };
  try {
    const attributes = { 'cmbs.access.user.password': PASSWORD };
    await send(ADMINISTRATOR, 'PUT', '/cmbs/access/user/alice', { kind: `${ACCESS}user`, attributes });
    const path = '/cmbs/message/own';
    await send('alice', 'PUT', path, messageEntity('tcp://127.0.0.1:1', 'true'));
    for (const caller of ['alice', ADMINISTRATOR]) {
      for (let page = 0; page < PAGES; page += 1) await send(caller, 'POST', '/', { resources: messages() });
    }
    const token = { kind: `${ACCESS}token`, attributes: {} };
    const { head } = await send('alice', 'POST', '/cmbs/access/token/', token);
    const secret = /\r\ncmbs-token: (\S+)/i.exec(head)?.[1];
    if (secret === undefined) throw new Error(`no token in ${head}`);
    return { directory, authorization: `Bearer ${secret}`, path };
  } finally {
    await product.stop();
  }
}

const messages = (): readonly unknown[] =>
  Array.from({ length: PAGE }, () => messageEntity('tcp://127.0.0.1:1', 'true'));

async function requests(scratch: string): Promise<readonly Row[]> {
  const { directory, authorization, path } = await prepare(scratch);
  const products: Product[] = [];
  const start = async (options: ProductOptions): Promise<Product> => {
    const product = await Product.start(options);
    products.push(product);
    return product;
  };
  try {
    const open = await start({});
    const closed = await start({ directory, settings: { ...CLOSED, CMBS_IDENTITIES: 'token' } });
    const openPath = await open.create('/cmbs/message/', messageEntity('tcp://127.0.0.1:1', 'true'));
    const body = JSON.stringify({ resources: messages() });
    for (let page = 0; page < PAGES; page += 1) {
      await askOnce(open.port, requestText('POST', '/', { Accept: TYPE, 'Content-Type': TYPE }, body));
    }
    const asked = [
      { what: 'an entity', own: path, other: openPath, connections: 1 },
      { what: 'an entity', own: path, other: openPath, connections: 32 },
      ...[1, 32].map((connections) => ({
        what: `a page of ${PAGE}`,
        own: PAGE_OF_ALL,
        other: PAGE_OF_ALL,
        connections,
      })),
    ];
    const rows: Row[] = [];
    for (const { what, own, other, connections } of asked) {
      const withToken = requestText('GET', own, { Accept: TYPE, Authorization: authorization });
      const without = requestText('GET', other, { Accept: TYPE });
      const contestant = (name: string, port: number, request: string): Contestant => ({
        name,
        run: async () => (await loadHttp({ port, connections, ms: ROUND_MS, request: () => request })).perSecond,
      });
      const figures = await inTurn(
        [contestant('token', closed.port, withToken), contestant('identities off', open.port, without)],
        ROUNDS,
      );
      rows.push(
        compared(figures, {
          what: `GET ${what} with a token, c=${connections}`,
          unit: '/s',
          ours: 'token',
          against: 'identities off',
          aim: atLeast(own === path ? 0.6 : 0.8),
          limit: 'The token is read for each request, so that a deleted token is refused at once.',
        }),
      );
    }
    return rows;
  } finally {
    for (const product of products) await product.close();
  }
}

/** A user whom an issuer of tokens names, and who is not in the store. */
const USER: Principal = { kind: 'user', name: 'issuer.example/alice' };
const GROUP = 'readers';

const message = (n: number): Resource => ({
  path: `/cmbs/message/m${n}`,
  kind: MESSAGE_KIND,
  owner: 'somebody-else',
});

/** A store with rules, each for another message, and the decisions by them. */
class Ruled {
  readonly name: string;
  readonly #store: Store;
  readonly #count: number;
  readonly #access: Access;
  readonly #readsOf: ReturnType<typeof countedStore>['readsOf'];

  private constructor(store: Store, count: number) {
    this.name = count.toLocaleString('en');
    this.#store = store;
    this.#count = count;
    const counted = countedStore(store);
    this.#readsOf = counted.readsOf;
    this.#access = accessOf({
      store: counted.store,
      clock: systemClock,
      isClosed: true,
      administrators: [ADMINISTRATOR],
      memberKind: MEMBER_KIND,
      unauthenticated: () => new CmbsError('unauthenticated', 'The bench has no login.'),
    });
  }

  static async create(directory: string, count: number): Promise<Ruled> {
    const store = await openSqliteStore({ directory, clock: systemClock, log: silentLog });
    const categories = new Categories(store, [CMBS_EXTENSION, ACCESS_CATEGORIES]);
    try {
      const { registry } = await categories.current();
      await write(store, registry, [group]);
      for (let from = 0; from < count; from += BATCH) {
        const size = Math.min(BATCH, count - from);
        await write(
          store,
          registry,
          Array.from({ length: size }, (_, at) => rule(from + at)),
        );
      }
    } finally {
      categories.close();
    }
    return new Ruled(store, count);
  }

  /** Messages that have a rule, spread over all of them. */
  #resources(most: number): readonly Resource[] {
    const size = Math.min(most, this.#count);
    return Array.from({ length: size }, (_, at) => message(Math.floor((at * this.#count) / size)));
  }

  /** Microseconds of a decision that was taken a moment ago. */
  async cached(): Promise<number> {
    const resources = this.#resources(RESOURCES);
    const { authorize } = this.#access;
    for (const resource of resources) await authorize(USER, 'entity.read', resource);
    const started = performance.now();
    for (let done = 0; done < DECISIONS; done += 1) {
      await authorize(USER, 'entity.read', resources[done % resources.length] as Resource);
    }
    return ((performance.now() - started) * 1000) / DECISIONS;
  }

  /** Microseconds of a decision with nothing in memory. */
  async uncached(): Promise<number> {
    const resources = this.#resources(READING_DECISIONS);
    const taken: number[] = [];
    while (taken.length < READING_DECISIONS) {
      this.#access.forget();
      const started = performance.now();
      await this.#access.authorize(USER, 'entity.read', resources[taken.length % resources.length] as Resource);
      taken.push(performance.now() - started);
    }
    return median(taken) * 1000;
  }

  /** Documents that decisions with nothing in memory read, at most. */
  async reads(): Promise<number> {
    let most = 0;
    for (const resource of this.#resources(FEW)) {
      this.#access.forget();
      most = Math.max(most, await this.#readsOf(() => this.#access.authorize(USER, 'entity.read', resource)));
    }
    return most;
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

interface Written {
  readonly path: string;
  readonly kind: string;
  readonly attributes: JsonObject;
}

const group: Written = {
  path: `/cmbs/access/group/${GROUP}`,
  kind: `${ACCESS}group`,
  attributes: { 'cmbs.access.group.members': [`user:${USER.name}`] },
};

const rule = (n: number): Written => ({
  path: `/cmbs/access/rule/r${n}`,
  kind: `${ACCESS}rule`,
  attributes: {
    'cmbs.access.rule.target': `entity:${message(n).path}`,
    'cmbs.access.rule.operations': ['entity.read'],
    'cmbs.access.rule.order': 'allow,deny',
    'cmbs.access.rule.allow': [`group:${GROUP}`],
    'cmbs.access.rule.deny': [`user:other-${n}`],
  },
});

async function write(store: Store, registry: CategoryRegistry, entities: readonly Written[]): Promise<void> {
  const now = systemClock.now();
  await store.transact(async (tx) => {
    for (const entity of entities) {
      const id = entity.path.slice(entity.path.lastIndexOf('/') + 1);
      const times = { createdAt: now, updatedAt: now };
      const owned = { owner: ADMINISTRATOR, createdBy: { kind: 'user', name: ADMINISTRATOR } as const };
      writeEntity(
        tx,
        { ...entity, ...times, ...owned, id, mixins: [], rawJson: {}, isLinked: false },
        undefined,
        registry,
      );
    }
  });
}

async function decisions(scratch: string): Promise<readonly Row[]> {
  const stores: Ruled[] = [];
  try {
    const few = await Ruled.create(join(scratch, 'few'), FEW);
    stores.push(few);
    const many = await Ruled.create(join(scratch, 'many'), MANY);
    stores.push(many);
    const both = (run: (ruled: Ruled) => Promise<number>): Promise<ReadonlyMap<string, readonly number[]>> =>
      inTurn(
        [many, few].map((ruled) => ({ name: ruled.name, run: () => run(ruled) })),
        ROUNDS,
      );
    const row = (
      what: string,
      unit: string,
      figures: ReadonlyMap<string, readonly number[]>,
      ratio: number,
    ): Row => ({
      ...compared(figures, { what, unit, ours: many.name, against: few.name, aim: atMost(ratio) }),
      against: `${few.name} rules`,
    });
    const cached = await both((ruled) => ruled.cached());
    const uncached = await both((ruled) => ruled.uncached());
    const reads = await both((ruled) => ruled.reads());
    const cachedOf = (count: string): string => `cached decision, ${count} rules`;
    const uncachedOf = `decision with nothing in memory, ${many.name} rules`;
    return [
      withAim(cachedOf(few.name), 'µs', cached.get(few.name), AIM_MICROS),
      withAim(cachedOf(many.name), 'µs', cached.get(many.name), AIM_MICROS),
      row(cachedOf(many.name), 'µs', cached, 1.5),
      row(uncachedOf, 'µs', uncached, 1.5),
      row(`reads of a ${uncachedOf}`, 'documents', reads, 1),
      withAim(`reads of a ${uncachedOf}`, 'documents', reads.get(many.name), AIM_READS),
    ];
  } finally {
    for (const ruled of stores) await ruled.close();
  }
}

/** Figures of this run against the most that they may be. */
function withAim(what: string, unit: string, figures: readonly number[] = [], most: number): Row {
  const ratios = figures.map((figure) => figure / most);
  return {
    ...{ what, unit, ours: median(figures), against: 'aim', other: most, ratio: median(ratios) },
    ...{ low: Math.min(...ratios), high: Math.max(...ratios), aim: atMost(1) },
  };
}

export async function accessCase(): Promise<readonly Row[]> {
  const scratch = await mkdtemp(join(tmpdir(), 'cmbs-bench-access-'));
  try {
    return [...(await requests(scratch)), ...(await decisions(scratch))];
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
