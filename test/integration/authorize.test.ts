/** Every operation of the OCCI interface is decided in the domain, with what is stored, before it shows or changes anything. */
import { ANONYMOUS, CmbsError, newId, silentLog, systemClock, type Operation, type Principal } from '@cmbs/shared';
import { embeddedBus } from '@cmbs/shared/bus/embedded';
import { readConfig } from '@cmbs/shared/config';
import { Categories, Entities, readEntity, RENDERINGS } from '@cmbs/shared/occi';
import { inProcessRpc } from '@cmbs/shared/rpc/in-process';
import type { App } from '@cmbs/functions/app';
import { assemble } from '@cmbs/functions/assemble';
import { parseQuery, splitTarget } from '@cmbs/functions/http-parse';
import type { OcciRequest } from '@cmbs/functions/request';
import { routeFor } from '@cmbs/functions/routes';
import { serve } from '@cmbs/functions/serve';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';

const COMPUTE = 'http://schemas.ogf.org/occi/infrastructure#compute';
const START = 'http://schemas.ogf.org/occi/infrastructure/compute/action#start';
const OWN = 'http://example.com/own#';
const OWN_KIND = `${OWN}thing`;
const OWN_MIXIN = `${OWN}marked`;
const LINK = 'http://schemas.ogf.org/occi/core#link';
/** In the title of every entity: an answer that shows an entity has it. */
const SECRET = 'the secret title';
const ALICE: Principal = { kind: 'user', name: 'alice' };

/** What was asked: the operation and the path of the resource, and the action where there is one. */
type Question = readonly [operation: Operation, path: string, action?: string];

let temporary: TemporaryStore;
let app: App;
let asked: Question[];
let denied: Question | undefined;
let closeBus: () => Promise<void>;

const isSame = (a: Question, b: Question): boolean => JSON.stringify(a) === JSON.stringify(b);

beforeEach(async () => {
  temporary = await openTemporaryStore();
  asked = [];
  denied = undefined;
  const { store } = temporary;
  const common = { store, clock: systemClock, newId, log: silentLog };
  const bus = embeddedBus(common);
  closeBus = () => bus.close();
  app = assemble(
    {
      ...common,
      bus,
      rpc: inProcessRpc(() => undefined, systemClock),
      deployment: 'test',
      uriOf: (path) => path,
      ready: () => Promise.resolve(),
      authorize: (_principal, operation, { path, action }) => {
        const question: Question = action === undefined ? [operation, path] : [operation, path, action];
        asked.push(question);
        if (denied === undefined || !isSame(question, denied)) return Promise.resolve();
        return Promise.reject(new CmbsError('forbidden', 'You may not do that.'));
      },
    },
    readConfig({ CMBS_EXTENSIONS: 'infrastructure' }),
  );
  const definitions = {
    kinds: [{ term: 'thing', scheme: OWN, location: '/thing/', attributes: {} }],
    mixins: [{ term: 'marked', scheme: OWN, location: '/marked/', attributes: {} }],
  };
  await request({ method: 'POST', target: '/-/', body: definitions });
  for (const id of ['a', 'b']) {
    const body = { kind: COMPUTE, title: SECRET, mixins: id === 'a' ? [] : [OWN_MIXIN], attributes: {} };
    const { status } = await request({ method: 'PUT', target: `/compute/${id}`, body });
    expect(status).toBe(201);
  }
  asked = [];
});
afterEach(async () => {
  app.categories.close();
  await closeBus();
  await temporary.close();
});

interface Asked {
  readonly method: string;
  readonly target: string;
  readonly body?: unknown;
}

async function request({
  method,
  target,
  body,
}: Asked): Promise<{ readonly status: number; readonly text: string }> {
  const { path, query } = splitTarget(target);
  const sent: OcciRequest = {
    method,
    path,
    query: parseQuery(query),
    headers: {
      accept: ['application/json'],
      ...(body === undefined ? {} : { 'content-type': ['application/json'] }),
    },
    body: Buffer.from(body === undefined ? '' : JSON.stringify(body)),
    principal: ALICE,
    renderings: RENDERINGS,
    clientAddress: '127.0.0.1',
    base: 'http://localhost',
    signal: new AbortController().signal,
  };
  const response = await serve(routeFor(path, sent.query), sent, app);
  let text = JSON.stringify(response.headers);
  const { body: answered } = response;
  if (typeof answered === 'string') text += answered;
  else if (answered instanceof Uint8Array) text += Buffer.from(answered).toString();
  else for await (const piece of answered) text += piece;
  return { status: response.status, text };
}

/** All that is stored about entities and categories. */
async function stored(): Promise<unknown> {
  const collections = ['entities', 'entity-values', 'categories', 'provider-bindings', 'category-state'];
  return Promise.all(
    collections.map(async (collection) => (await temporary.store.query({ collection, limit: 10_000 })).docs),
  );
}

const thing = (title: string) => ({ kind: OWN_KIND, title, attributes: {} });
const definition = (term: string) => ({
  mixins: [{ term, scheme: OWN, location: `/${term}/`, attributes: {} }],
});

/** Requests with their questions, in order; a question that comes again stands once. */
const CASES: readonly (Asked & { readonly asks: readonly Question[] })[] = [
  { method: 'GET', target: '/compute/a', asks: [['entity.read', '/compute/a']] },
  { method: 'HEAD', target: '/compute/a', asks: [['entity.read', '/compute/a']] },
  { method: 'OPTIONS', target: '/compute/a', asks: [['entity.read', '/compute/a']] },
  { method: 'GET', target: '/compute/', asks: [['entity.list', '/compute/']] },
  { method: 'GET', target: '/marked/?q=nothing', asks: [['entity.list', '/marked/']] },
  { method: 'GET', target: '/', asks: [['entity.list', '/']] },
  { method: 'OPTIONS', target: '/compute/', asks: [['entity.list', '/compute/']] },
  {
    method: 'POST',
    target: '/',
    body: { resources: ['1', '2'].map((id) => ({ ...thing(SECRET), id })) },
    asks: [
      ['entity.create', '/thing/1'],
      ['entity.create', '/thing/2'],
    ],
  },
  {
    method: 'PUT',
    target: '/thing/new',
    body: thing(SECRET),
    asks: [
      ['entity.create', '/thing/new'],
      ['entity.read', '/thing/new'],
    ],
  },
  {
    method: 'PUT',
    target: '/compute/b',
    body: { kind: COMPUTE, title: SECRET, attributes: {} },
    asks: [
      ['entity.replace', '/compute/b'],
      ['entity.untag', '/compute/b'],
      ['entity.untag', OWN_MIXIN],
      ['entity.read', '/compute/b'],
    ],
  },
  {
    method: 'POST',
    target: '/compute/a',
    body: {
      kind: COMPUTE,
      mixins: [OWN_MIXIN],
      attributes: {},
      links: [{ kind: LINK, id: 'l', target: '/compute/b', attributes: {} }],
    },
    asks: [
      ['entity.update', '/compute/a'],
      ['entity.tag', '/compute/a'],
      ['entity.tag', OWN_MIXIN],
      ['entity.create', '/link/l'],
      ['entity.read', '/compute/a'],
    ],
  },
  { method: 'DELETE', target: '/compute/a', asks: [['entity.delete', '/compute/a']] },
  {
    method: 'DELETE',
    target: '/compute/',
    asks: [
      ['entity.delete', '/compute/a'],
      ['entity.delete', '/compute/b'],
    ],
  },
  {
    method: 'POST',
    target: '/marked/',
    body: ['/compute/a', '/compute/b'],
    asks: [
      ['entity.tag', OWN_MIXIN],
      ['entity.tag', '/compute/a'],
      ['entity.tag', '/compute/b'],
    ],
  },
  {
    method: 'PUT',
    target: '/marked/',
    body: ['/compute/a'],
    asks: [
      ['entity.tag', OWN_MIXIN],
      ['entity.untag', OWN_MIXIN],
      ['entity.tag', '/compute/a'],
      ['entity.untag', '/compute/b'],
    ],
  },
  {
    method: 'DELETE',
    target: '/marked/',
    body: ['/compute/b'],
    asks: [
      ['entity.untag', OWN_MIXIN],
      ['entity.untag', '/compute/b'],
    ],
  },
  {
    method: 'DELETE',
    target: '/marked/',
    asks: [
      ['entity.untag', OWN_MIXIN],
      ['entity.untag', '/compute/b'],
    ],
  },
  {
    method: 'POST',
    target: '/compute/a?action=start',
    asks: [
      ['entity.read', '/compute/a'],
      ['action.invoke', '/compute/a', START],
    ],
  },
  {
    method: 'POST',
    target: '/compute/?action=start',
    asks: [
      ['entity.list', '/compute/'],
      ['action.invoke', '/compute/a', START],
      ['action.invoke', '/compute/b', START],
    ],
  },
  { method: 'OPTIONS', target: '/cmbs/member/x?action=start_l1', asks: [['entity.read', '/cmbs/member/x']] },
  { method: 'OPTIONS', target: '/cmbs/message/?send', asks: [['entity.list', '/cmbs/message/']] },
  { method: 'GET', target: '/-/', asks: [['category.read', '/-/']] },
  { method: 'OPTIONS', target: '/-/', asks: [['category.read', '/-/']] },
  {
    method: 'POST',
    target: '/-/',
    body: { mixins: [...definition('one').mixins, ...definition('two').mixins] },
    asks: [
      ['category.create', `${OWN}one`],
      ['category.create', `${OWN}two`],
    ],
  },
  {
    method: 'PUT',
    target: '/-/',
    body: {
      mixins: [{ ...definition('marked').mixins[0], title: 'Marked' }],
      providers: [{ OCCI_ID: OWN_KIND, Provider: { local: ['dummy'], remote: [] } }],
    },
    asks: [
      ['category.update', OWN_MIXIN],
      ['category.bind', OWN_KIND],
    ],
  },
  { method: 'DELETE', target: '/-/', body: definition('marked'), asks: [['category.delete', OWN_MIXIN]] },
];

describe.each(CASES)('$method $target', ({ asks, ...sent }) => {
  it('asks what is done to what is stored', async () => {
    const { status } = await request(sent);
    expect(status).toBeLessThan(300);
    const questions = asked.filter((question, at) => asked.findIndex((other) => isSame(question, other)) === at);
    expect(questions).toEqual(asks);
  });

  it('shows and changes nothing when one of its questions is denied', async () => {
    const before = await stored();
    for (const question of asks) {
      denied = question;
      const { status, text } = await request(sent);
      expect({ question, status }).toEqual({ question, status: 403 });
      expect(text).not.toContain(SECRET);
      expect(await stored()).toEqual(before);
    }
  });
});

it('tells the rules what the entity is and who owns it', async () => {
  const asks: unknown[] = [];
  const entities = new Entities({
    store: temporary.store,
    categories: app.categories,
    clock: systemClock,
    newId,
    authorize: async (...question) => void asks.push(question),
  });
  await entities.read('/compute/b', ANONYMOUS);
  const resource = { path: '/compute/b', kind: COMPUTE, mixins: [OWN_MIXIN], owner: ALICE.name };
  expect(asks).toEqual([[ANONYMOUS, 'entity.read', resource]]);
});

it('stores who made an entity', async () => {
  await request({
    method: 'POST',
    target: '/compute/a',
    body: { kind: COMPUTE, links: [{ kind: LINK, id: 'l', target: '/compute/b', attributes: {} }] },
  });
  for (const path of ['/compute/a', '/link/l']) {
    const made = await readEntity(temporary.store, path);
    expect(made?.entity).toMatchObject({ owner: ALICE.name, createdBy: ALICE });
  }
});

it('changes no category in a process that decides nothing', async () => {
  const categories = new Categories(temporary.store, []);
  await expect(categories.read(ALICE)).rejects.toMatchObject({ code: 'forbidden' });
  await expect(
    categories.remove({ categories: [], providers: [{ category: OWN_KIND, local: [], remote: [] }] }, ALICE),
  ).rejects.toMatchObject({ code: 'forbidden' });
  categories.close();
});
