/** Who may do what, over HTTP: users, groups, tokens, rules; what is shown, and what is refused with which status. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ANY_PORT } from '@cmbs/emulator/ports';
import { startStack } from '@cmbs/emulator/stack';
import type { JsonObject } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import { Reply, Request } from 'zeromq';
import { RecordedLog } from '../recorded';
import { CMBS, Deployment, eventually, freeSocket, MEMBER, MESSAGE, unique } from './harness';
import { PATIENCE_MS } from '../patience';

const ADMIN_PASSWORD = 'correct horse battery';
const directory = mkdtempSync(join(tmpdir(), 'cmbs-access-'));
const passwordFile = join(directory, 'password');
writeFileSync(passwordFile, `${ADMIN_PASSWORD}\n`);

const CLOSED = {
  CMBS_IDENTITIES: 'basic,token',
  CMBS_ADMINISTRATORS: 'root',
  CMBS_ADMIN_PASSWORD_FILE: passwordFile,
};

let deployment: Deployment;
beforeAll(async () => {
  deployment = await Deployment.start({ env: CLOSED });
});
afterAll(async () => {
  await deployment.close();
  rmSync(directory, { recursive: true });
});

interface Sent {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly json: JsonObject;
}

/** A caller with its own credentials. */
class Caller {
  constructor(readonly authorization: string | undefined) {}

  static basic(name: string, password: string): Caller {
    return new Caller(`Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`);
  }

  async ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Sent> {
    const answer = await fetch(deployment.url + path, {
      method,
      headers: {
        Accept: 'application/json',
        ...(this.authorization === undefined ? {} : { Authorization: this.authorization }),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return {
      status: answer.status,
      headers: answer.headers,
      text,
      get json() {
        return JSON.parse(text) as JsonObject;
      },
    };
  }

  async status(method: string, path: string, body?: unknown): Promise<number> {
    return (await this.ask(method, path, body)).status;
  }

  /** Creates an entity and returns its path. */
  async create(
    kind: string,
    attributes: JsonObject,
    id = unique('e'),
    mixins: readonly string[] = [],
  ): Promise<string> {
    const collection = COLLECTION[kind] ?? '/';
    const made = await this.ask('PUT', collection + id, { kind, mixins, attributes });
    if (made.status !== 201) throw new Error(`${kind} was not created: ${made.status} ${made.text}`);
    return collection + id;
  }

  message(id?: string): Promise<string> {
    return this.create(MESSAGE, { 'cmbs.message.message_content': { a: 1 } }, id);
  }

  /** Paths in a collection, over all pages. */
  async list(collection: string, number = 100): Promise<readonly string[]> {
    const found: string[] = [];
    for (let next: string | undefined = `${collection}?number=${number}`; next !== undefined;) {
      const answer: Sent = await this.ask('GET', next, undefined, { Accept: 'text/uri-list' });
      if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`);
      found.push(
        ...answer.text
          .split(/\r?\n/)
          .filter((line) => line !== '')
          .map((url) => new URL(url).pathname),
      );
      const link: RegExpExecArray | null = /<([^>]+)>; *rel="?next"?/.exec(answer.headers.get('link') ?? '');
      next =
        link === null ? undefined : new URL(link[1] as string, deployment.url).href.slice(deployment.url.length);
    }
    return found;
  }
}

const ACCESS = 'http://houssem.org/cmbs/access#';
const USER = `${ACCESS}user`;
const GROUP = `${ACCESS}group`;
const TOKEN = `${ACCESS}token`;
const RULE = `${ACCESS}rule`;
const COLLECTION: Readonly<Record<string, string>> = {
  [USER]: '/cmbs/access/user/',
  [GROUP]: '/cmbs/access/group/',
  [TOKEN]: '/cmbs/access/token/',
  [RULE]: '/cmbs/access/rule/',
  [MESSAGE]: '/cmbs/message/',
  [MEMBER]: '/cmbs/member/',
};

const root = Caller.basic('root', ADMIN_PASSWORD);
const nobody = new Caller(undefined);

/** A new user with its caller. */
async function user(): Promise<{ readonly name: string; readonly as: Caller }> {
  const name = unique('user');
  const password = `password of ${name}`;
  await root.create(USER, { 'cmbs.access.user.password': password }, name);
  return { name, as: Caller.basic(name, password) };
}

const rule = (target: string, more: Record<string, string | readonly string[]>): JsonObject => ({
  'cmbs.access.rule.target': target,
  ...Object.fromEntries(Object.entries(more).map(([name, value]) => [`cmbs.access.rule.${name}`, value])),
});

describe('access, closed', () => {
  it('#12 asks callers without credentials to log in, and says how', async () => {
    for (const [method, path] of [
      ['GET', '/-/'],
      ['GET', '/cmbs/message/'],
      ['GET', '/cmbs/message/none'],
      ['DELETE', '/cmbs/message/none'],
      ['GET', '/cmbs/member/none/inbox/'],
      ['POST', '/cmbs/message/none?action=send_l1'],
      ['OPTIONS', '/cmbs/message/'],
      ['GET', '/metrics'],
    ] as const) {
      const { status, headers } = await nobody.ask(method, path);
      expect({ method, path, status }).toEqual({ method, path, status: 401 });
      expect(headers.get('www-authenticate')).toMatch(/^Basic realm="cmbs".*, Bearer realm="cmbs"/);
    }
    expect(await nobody.status('GET', '/healthz')).toBe(200);
  });

  it('refuses wrong passwords and unknown names in the same way', async () => {
    const wrong = await Caller.basic('root', 'wrong password').ask('GET', '/-/');
    const unknown = await Caller.basic('nobody-here', 'wrong password').ask('GET', '/-/');
    expect([wrong.status, unknown.status]).toEqual([401, 401]);
    expect(unknown.text).toBe(wrong.text);
  });

  it('shows an entity to its owner, to nobody else, and not even that there is one', async () => {
    const [alice, bob] = [await user(), await user()];
    const path = await alice.as.message();
    expect(await alice.as.status('GET', path)).toBe(200);
    const refused = await bob.as.ask('GET', path);
    const absent = await bob.as.ask('GET', '/cmbs/message/absent');
    expect([refused.status, absent.status]).toEqual([404, 404]);
    expect(refused.text.replaceAll(path, 'X')).toBe(absent.text.replaceAll('/cmbs/message/absent', 'X'));
    expect(await bob.as.status('DELETE', path)).toBe(404);
    expect(await bob.as.status('POST', path, { attributes: { 'cmbs.message.sendable': 'false' } })).toBe(404);
    expect(await bob.as.status('POST', `${path}?action=send_l1`)).toBe(404);
    expect(await root.status('GET', path)).toBe(200);
    expect(await alice.as.status('DELETE', path)).toBe(200);
  });

  it('lists what a caller may see, in full pages', async () => {
    const [alice, bob] = [await user(), await user()];
    const own: string[] = [];
    for (let i = 0; i < 12; i++) {
      own.push(await alice.as.message());
      await bob.as.message();
    }
    const sorted = [...own].sort();
    for (const number of [1, 5, 100]) expect(await alice.as.list('/cmbs/message/', number)).toEqual(sorted);
    const page = await alice.as.ask('GET', '/cmbs/message/?number=5', undefined, { Accept: 'text/uri-list' });
    expect(page.text.trim().split(/\r?\n/)).toHaveLength(5);
    const shown = await bob.as.message();
    await root.create(
      RULE,
      rule(`entity:${shown}`, { operations: ['entity.read'], allow: [`user:${alice.name}`] }),
    );
    expect(await alice.as.list('/cmbs/message/', 5)).toEqual([...own, shown].sort());
    const self = `/cmbs/access/user/${alice.name}`;
    expect(await alice.as.list('/cmbs/', 7)).toEqual([self, ...own, shown].sort());
    await root.create(RULE, rule(`entity:${own[3] ?? ''}`, { deny: [`user:${alice.name}`] }));
    expect(await alice.as.list('/cmbs/message/', 5)).toEqual(
      [...own, shown].filter((path) => path !== own[3]).sort(),
    );
    const all = await root.list('/cmbs/message/');
    for (const path of [...own, shown]) expect(all).toContain(path);
  });

  it('counts logins by identity and outcome, without names', async () => {
    const alice = await user();
    const counted = async (): Promise<Readonly<Record<string, number>>> => {
      const lines = (await root.ask('GET', '/metrics')).text.split('\n');
      const logins = lines.filter((line) => line.startsWith('cmbs_logins{'));
      return Object.fromEntries(logins.map((line) => line.split(' ')).map(([name = '', n]) => [name, Number(n)]));
    };
    const before = await counted();
    expect(await alice.as.status('GET', '/cmbs/message/')).toBe(200);
    expect(await Caller.basic(alice.name, 'wrong').status('GET', '/cmbs/message/')).toBe(401);
    expect(await new Caller('Bearer cmbs_none').status('GET', '/cmbs/message/')).toBe(401);
    expect(await nobody.status('GET', '/cmbs/message/')).toBe(401);
    const after = await counted();
    const grown = Object.keys(after).map((name) => [name, (after[name] ?? 0) - (before[name] ?? 0)]);
    expect(Object.fromEntries(grown.filter(([, n]) => n !== 0))).toEqual({
      // Those of alice and of the second look at the metrics.
      'cmbs_logins{identity="basic",outcome="accepted"}': 2,
      'cmbs_logins{identity="basic",outcome="refused"}': 1,
      'cmbs_logins{identity="token",outcome="refused"}': 1,
    });
  });

  it('deletes of a collection only what its caller may delete, and says that others stay', async () => {
    const [alice, bob] = [await user(), await user()];
    const [hidden, own] = [await alice.as.message(), await bob.as.message()];
    expect(await bob.as.status('DELETE', '/cmbs/message/')).toBe(200);
    expect([await alice.as.status('GET', hidden), await bob.as.status('GET', own)]).toEqual([200, 404]);
    await alice.as.create(
      RULE,
      rule(`entity:${hidden}`, { operations: ['entity.read'], allow: [`user:${bob.name}`] }),
    );
    const last = await bob.as.message();
    const rest = await bob.as.ask('DELETE', '/cmbs/message/');
    expect([rest.status, rest.headers.get('x-occi-reason')]).toEqual([
      200,
      'Not deleted, because you may not do that to these entities: 1.',
    ]);
    expect([await alice.as.status('GET', hidden), await bob.as.status('GET', last)]).toEqual([200, 404]);
  });

  it('decides on the most specific level that names the caller, where a denial wins', async () => {
    const [alice, bob] = [await user(), await user()];
    const [one, two] = [await alice.as.message(), await alice.as.message()];
    const collection = await root.create(
      RULE,
      rule('entity:/cmbs/message/', { operations: ['entity.read'], allow: [`user:${bob.name}`] }),
    );
    expect([await bob.as.status('GET', one), await bob.as.status('GET', two)]).toEqual([200, 200]);
    // Known, but not allowed to do more.
    expect(await bob.as.status('DELETE', one)).toBe(403);
    const denial = await root.create(RULE, rule(`entity:${one}`, { deny: [`user:${bob.name}`] }));
    expect([await bob.as.status('GET', one), await bob.as.status('GET', two)]).toEqual([404, 200]);
    await root.create(RULE, rule(`entity:${one}`, { allow: [`user:${bob.name}`] }));
    expect(await bob.as.status('GET', one)).toBe(404);
    expect(await root.status('DELETE', denial)).toBe(200);
    expect(await bob.as.status('GET', one)).toBe(200);
    expect(await root.status('DELETE', collection)).toBe(200);
    expect([await bob.as.status('GET', one), await bob.as.status('GET', two)]).toEqual([200, 404]);
  });

  it('lets an owner write rules for its own entities only, and owning a rule grants nothing', async () => {
    const [alice, bob] = [await user(), await user()];
    const path = await alice.as.message();
    const share = rule(`entity:${path}`, { operations: ['entity.read'], allow: [`user:${bob.name}`] });
    expect(await bob.as.status('PUT', `/cmbs/access/rule/${unique('r')}`, { kind: RULE, attributes: share })).toBe(
      403,
    );
    await alice.as.create(RULE, share);
    expect(await bob.as.status('GET', path)).toBe(200);
    const wide = rule('entity:/cmbs/message/', { allow: [`user:${alice.name}`] });
    expect(
      await alice.as.status('PUT', `/cmbs/access/rule/${unique('r')}`, { kind: RULE, attributes: wide }),
    ).toBe(403);
  });

  it('lets no rule of an owner count for what somebody else makes at the path later', async () => {
    const [alice, bob] = [await user(), await user()];
    const path = await alice.as.message();
    const own = await alice.as.create(RULE, rule(`entity:${path}`, { allow: [`user:${alice.name}`] }));
    expect(await alice.as.status('DELETE', path)).toBe(200);
    await bob.as.message(path.slice(path.lastIndexOf('/') + 1));
    expect([await alice.as.status('GET', path), await bob.as.status('GET', path)]).toEqual([404, 200]);
    expect(await alice.as.list('/cmbs/message/')).toEqual([]);
    // An administrator may say so all the same.
    expect(
      await root.status('POST', own, { attributes: { 'cmbs.access.rule.operations': ['entity.read'] } }),
    ).toBe(200);
    expect(await alice.as.status('GET', path)).toBe(200);
  });

  it('counts members of a group above as members, and refuses groups in a circle', async () => {
    const [alice, bob] = [await user(), await user()];
    const [upper, lower] = [unique('upper'), unique('lower')];
    await root.create(GROUP, { 'cmbs.access.group.members': [`user:${bob.name}`] }, upper);
    await root.create(GROUP, { 'cmbs.access.group.parent': upper }, lower);
    const path = await alice.as.message();
    await alice.as.create(
      RULE,
      rule(`entity:${path}`, { operations: ['entity.read'], allow: [`group:${lower}`] }),
    );
    expect(await bob.as.status('GET', path)).toBe(200);
    expect(await bob.as.list('/cmbs/message/')).toEqual([path]);
    const circle = await root.ask('POST', `/cmbs/access/group/${upper}`, {
      attributes: { 'cmbs.access.group.parent': lower },
    });
    expect(circle.status).toBe(409);
    await root.ask('POST', `/cmbs/access/group/${upper}`, { attributes: { 'cmbs.access.group.members': [] } });
    expect(await bob.as.status('GET', path)).toBe(404);
  });

  it('lets administrators of a group change its members, and nobody else', async () => {
    const [alice, bob] = [await user(), await user()];
    const group = await root.create(
      GROUP,
      { 'cmbs.access.group.administrators': [`user:${alice.name}`] },
      unique('g'),
    );
    const members = { attributes: { 'cmbs.access.group.members': [`user:${bob.name}`] } };
    expect(await bob.as.status('POST', group, members)).toBe(404);
    expect(await alice.as.status('POST', group, members)).toBe(200);
    expect(await alice.as.status('DELETE', group)).toBe(403);
  });

  it('gives a token once, with fewer rights than its owner, until it is deleted', async () => {
    const alice = await user();
    const [one, two] = [await alice.as.message(), await alice.as.message()];
    const made = await alice.as.ask('POST', '/cmbs/access/token/', {
      kind: TOKEN,
      attributes: {
        'cmbs.access.token.name': 'reads one',
        'cmbs.access.token.targets': [`entity:${one}`],
        'cmbs.access.token.operations': ['entity.read'],
      },
    });
    expect(made.status).toBe(201);
    const secret = made.headers.get('cmbs-token') ?? '';
    expect(secret).toMatch(/^cmbs_[A-Za-z0-9-]+_[\w-]{43}$/);
    expect(made.headers.get('cache-control')).toBe('no-store');
    const path = new URL(made.headers.get('location') ?? '').pathname;
    expect((await alice.as.ask('GET', path)).text).not.toContain(secret.replace(/^cmbs_[^_]*_/, ''));
    const token = new Caller(`Bearer ${secret}`);
    expect(await token.status('GET', one)).toBe(200);
    expect(await token.status('GET', two)).toBe(404);
    expect(await token.status('DELETE', one)).toBe(403);
    expect(await token.status('POST', '/cmbs/access/token/', { kind: TOKEN })).toBe(403);
    expect(await alice.as.status('DELETE', path)).toBe(200);
    expect(await token.status('GET', one)).toBe(401);
  });

  it('refuses the tokens of a deleted user, and ends the streams of a reader who loses the right', async () => {
    const [alice, bob] = [await user(), await user()];
    const made = await alice.as.ask('POST', '/cmbs/access/token/', { kind: TOKEN });
    const token = new Caller(`Bearer ${made.headers.get('cmbs-token') ?? ''}`);
    const { path } = await member(alice.as, []);
    const right = await alice.as.create(
      RULE,
      rule(`member:${path}`, { operations: ['inbox.read'], allow: [`user:${bob.name}`] }),
    );
    const follow = async (as: Caller): Promise<Response> => {
      const headers = { Authorization: as.authorization ?? '', Accept: 'text/event-stream' };
      const answer = await fetch(`${deployment.url}${path}/inbox/`, { headers });
      expect(answer.status).toBe(200);
      return answer;
    };
    const streams = [await follow(bob.as), await follow(token)];
    expect(await root.status('DELETE', right)).toBe(200);
    expect(await root.status('DELETE', `/cmbs/access/user/${alice.name}`)).toBe(200);
    expect(await token.status('GET', path)).toBe(401);
    for (const stream of streams) await stream.text();
  });

  it('hands an entity over, and answers with nothing of it', async () => {
    const [alice, bob] = [await user(), await user()];
    const path = await alice.as.message();
    const owned = { mixins: [`${ACCESS}owned`], attributes: { 'cmbs.access.owned.by': `user:${bob.name}` } };
    const answer = await alice.as.ask('POST', path, owned);
    expect(answer.status).toBe(200);
    expect(answer.text).not.toContain('message_content');
    expect([await alice.as.status('GET', path), await bob.as.status('GET', path)]).toEqual([404, 200]);
    expect(await bob.as.list('/cmbs/access/owned/')).toEqual([path]);
    // A tag in the collection of the mixin would name no owner.
    const other = await bob.as.message();
    expect(await bob.as.status('POST', '/cmbs/access/owned/?action=tag', { entities: [other] })).not.toBe(200);
    expect(await bob.as.list('/cmbs/access/owned/')).toEqual([path]);
  });

  it("lists with an administrator's token only what the token may read", async () => {
    const alice = await user();
    const [one, two] = [await alice.as.message(), await alice.as.message()];
    const tokenFor = async (limits: Record<string, readonly string[]>): Promise<Caller> => {
      const attributes = Object.fromEntries(
        Object.entries(limits).map(([name, value]) => [`cmbs.access.token.${name}`, value]),
      );
      const made = await root.ask('POST', '/cmbs/access/token/', { kind: TOKEN, attributes });
      return new Caller(`Bearer ${made.headers.get('cmbs-token') ?? ''}`);
    };
    const lister = await tokenFor({ operations: ['entity.list'] });
    expect(await lister.status('GET', one)).toBe(404);
    expect(await lister.list('/cmbs/message/')).toEqual([]);
    const reader = await tokenFor({
      operations: ['entity.list', 'entity.read'],
      targets: ['entity:/cmbs/message/'],
    });
    expect(await reader.list('/cmbs/message/')).toEqual(expect.arrayContaining([one, two]));
    expect(await reader.status('GET', '/cmbs/access/user/')).toBe(403);
  });

  it('never shows a password, and takes a changed one at once', async () => {
    const alice = await user();
    const path = `/cmbs/access/user/${alice.name}`;
    expect((await alice.as.ask('GET', path)).text).not.toContain('password');
    expect(
      await alice.as.status('POST', path, { attributes: { 'cmbs.access.user.password': 'a new password' } }),
    ).toBe(200);
    expect(await alice.as.status('GET', '/-/')).toBe(401);
    expect(await Caller.basic(alice.name, 'a new password').status('GET', path)).toBe(200);
    expect(await root.status('DELETE', path)).toBe(200);
    expect(await Caller.basic(alice.name, 'a new password').status('GET', path)).toBe(401);
  });

  it('lets only administrators make users, groups and categories', async () => {
    const alice = await user();
    expect(await alice.as.status('PUT', `/cmbs/access/user/${unique('u')}`, { kind: USER })).toBe(403);
    expect(await alice.as.status('PUT', `/cmbs/access/group/${unique('g')}`, { kind: GROUP })).toBe(403);
    const kind = { term: unique('k'), scheme: 'http://example.com/access#', location: `/${unique('k')}/` };
    expect(await alice.as.status('POST', '/-/', { kinds: [kind] })).toBe(403);
    expect(await root.status('POST', '/-/', { kinds: [kind] })).toBe(200);
  });

  it('refuses rules that name nobody or nothing, and says what is written', async () => {
    const bad: readonly (readonly [JsonObject, RegExp])[] = [
      [rule('entity:/cmbs/message/', { allow: ['prefix:'] }), /prefix:/],
      [rule('entity:/cmbs/message/', { allow: ['alice'] }), /user:alice/],
      [rule('cmbs/message', { allow: ['everybody'] }), /entity:\/cmbs\/message/],
      [rule('topic:news.*', { allow: ['everybody'] }), /topic:news/],
      [rule('entity:/', { operations: ['entity.eat'], allow: ['everybody'] }), /entity\.eat/],
      [rule('entity:/', { from: 'yesterday', allow: ['everybody'] }), /RFC 3339/],
      [rule('entity:/', { order: 'allow', allow: ['everybody'] }), /order/],
    ];
    for (const [attributes, says] of bad) {
      const answer = await root.ask('PUT', `/cmbs/access/rule/${unique('r')}`, { kind: RULE, attributes });
      expect(answer.status).toBe(400);
      expect(answer.text).toMatch(says);
    }
    const early = rule('entity:/cmbs/message/not-yet', { allow: ['everybody'] });
    const made = await root.ask('PUT', `/cmbs/access/rule/${unique('r')}`, { kind: RULE, attributes: early });
    expect([made.status, made.headers.get('x-occi-reason')]).toEqual([201, expect.stringContaining('not-yet')]);
  });

  it('bounds failed logins of one client', async () => {
    const alice = await user();
    const statuses: number[] = [];
    for (let i = 0; i < 15; i++) statuses.push(await Caller.basic(alice.name, `wrong ${i}`).status('GET', '/-/'));
    expect(statuses[0]).toBe(401);
    expect(statuses.at(-1)).toBe(429);
    // Others log in from the same address.
    expect(await root.status('GET', '/-/')).toBe(200);
  });
});

/** A local member of a caller, with the layers started. */
async function member(
  as: Caller,
  start: readonly string[],
  more: JsonObject = {},
): Promise<{ readonly path: string; readonly id: string; readonly socket: string }> {
  const socket = await freeSocket();
  const id = unique('m');
  const path = await as.create(
    MEMBER,
    { 'cmbs.member.local': 'true', 'cmbs.member.state': 'active', 'cmbs.member.l1_socket': socket, ...more },
    id,
  );
  for (const layer of start) {
    const started = await as.ask('POST', `${path}?action=start_${layer}`);
    if (started.status !== 200) throw new Error(`${layer} was not started: ${started.status} ${started.text}`);
  }
  return { path, id, socket };
}

/** Sends a new message and returns its delivery. */
async function send(as: Caller, layer: string, attributes: JsonObject, from: string): Promise<JsonObject> {
  const content = { 'cmbs.message.cmbs_layer': layer, 'cmbs.message.message_content': { a: 1 } };
  const path = await as.create(MESSAGE, { ...content, ...attributes }, unique('e'), [CMBS + layer]);
  const action = `http://houssem.org/cmbs/message/action#send_${layer}`;
  const sent = await as.ask('POST', `${path}?action=send_${layer}`, { action, attributes: { from } });
  if (sent.status >= 400) throw new Error(`${sent.status} ${sent.text}`);
  return (sent.json.attributes as JsonObject)['cmbs.message.delivery'] as JsonObject;
}

/** Lets a member take messages from a caller. */
const takeFrom = (as: Caller, path: string, subject: string): Promise<string> =>
  as.create(RULE, rule(`member:${path}`, { operations: ['message.receive'], allow: [subject] }));

describe('messages in a closed deployment', () => {
  it('go from member to member, whose owner gets the copy; acting as a member is a right of its own', async () => {
    const [alice, bob] = [await user(), await user()];
    const [from, to] = [await member(alice.as, []), await member(bob.as, ['l1'])];
    const receiver = { 'cmbs.message.l1_socket_receiver_member': to.socket };
    await expect(send(alice.as, 'l1', receiver, from.id)).rejects.toThrow(
      /This member does not take your messages/,
    );
    expect(await alice.as.status('GET', to.path)).toBe(404);
    await takeFrom(bob.as, to.path, `user:${alice.name}`);
    expect(await send(alice.as, 'l1', receiver, from.id)).toMatchObject({ state: 'delivered' });
    expect(await alice.as.status('GET', to.path)).toBe(200);
    const inbox = await bob.as.ask('GET', `${to.path}/inbox/`);
    const entries = inbox.json.entries as readonly JsonObject[];
    expect(entries).toHaveLength(1);
    expect(await alice.as.status('GET', `${to.path}/inbox/`)).toBe(403);
    expect(await nobody.status('GET', `${to.path}/inbox/`)).toBe(401);
    // Bob acts as Alice's member only when a rule says so.
    const l1 = { 'cmbs.message.cmbs_layer': 'l1', ...receiver };
    const message = await bob.as.create(MESSAGE, l1, unique('e'), [`${CMBS}l1`]);
    const action = 'http://houssem.org/cmbs/message/action#send_l1';
    const asAlice = { action, attributes: { from: from.id } };
    expect([400, 403, 404, 409]).toContain(await bob.as.status('POST', `${message}?action=send_l1`, asAlice));
    await alice.as.create(
      RULE,
      rule(`member:${from.path}`, { operations: ['message.send_as'], allow: [`user:${bob.name}`] }),
    );
    expect(await bob.as.status('POST', `${message}?action=send_l1`, asAlice)).toBe(200);
  });

  it('go from one member to all by a broadcast', async () => {
    const [alice, bob] = [await user(), await user()];
    const socket = await freeSocket();
    const from = await member(alice.as, []);
    const to = await member(bob.as, ['l2'], { 'cmbs.member.l2_socket': socket });
    const unheard = await member(bob.as, ['l2'], { 'cmbs.member.l2_socket': await freeSocket() });
    await takeFrom(bob.as, to.path, `user:${alice.name}`);
    const delivery = await send(alice.as, 'l2', {}, from.id);
    // The members that do not take messages from Alice are not even named.
    expect(JSON.stringify(delivery)).toContain(to.path);
    expect(JSON.stringify(delivery)).not.toContain(unheard.path);
    const inbox = await bob.as.ask('GET', `${to.path}/inbox/?wait=20`);
    expect(inbox.json.entries as readonly JsonObject[]).toHaveLength(1);
  });

  it('are refused from a peer that proves nothing, until a rule takes them', async () => {
    const bob = await user();
    const to = await member(bob.as, ['l1']);
    const peer = new Request();
    peer.connect(to.socket);
    const frame = (): string =>
      JSON.stringify({
        kind: MESSAGE,
        id: unique('frame'),
        attributes: { cmbs: { message: { cmbs_layer: 'l1', message_content: 'hello', transfer: { v: 1 } } } },
      });
    const reply = async (): Promise<JsonObject> => {
      await peer.send(frame());
      const [bytes] = await peer.receive();
      return JSON.parse(String(bytes)) as JsonObject;
    };
    try {
      expect(await reply()).toMatchObject({ error: { code: 'unauthenticated' } });
      await bob.as.create(
        RULE,
        rule(`member:${to.path}`, { operations: ['message.receive'], allow: ['everybody'] }),
      );
      expect(await reply()).not.toHaveProperty('error');
    } finally {
      peer.close();
    }
  });

  it('reach subscribers of topics that both may use', async () => {
    const [alice, bob] = [await user(), await user()];
    const [pub, sub] = [unique('news'), await freeSocket()];
    const from = await member(alice.as, []);
    const topics = { 'cmbs.message.topics': [`${pub}.eu`] };
    await expect(send(alice.as, 'l32', topics, from.id)).rejects.toThrow('403');
    const layer = { 'cmbs.member.topics': [`${pub}.>`], 'cmbs.member.l32_socket': sub };
    await expect(member(bob.as, ['l32'], layer)).rejects.toThrow('403');
    await root.create(
      RULE,
      rule(`topic:${pub}.>`, { operations: ['topic.publish'], allow: [`user:${alice.name}`] }),
    );
    const reads = await root.create(
      RULE,
      rule(`topic:${pub}.>`, { operations: ['topic.subscribe'], allow: [`user:${bob.name}`] }),
    );
    const to = await member(bob.as, ['l32'], layer);
    expect(await send(alice.as, 'l32', topics, from.id)).toMatchObject({ state: 'delivered' });
    const read = await bob.as.ask('GET', `${to.path}/inbox/?wait=20`);
    const [entry] = read.json.entries as readonly JsonObject[];
    const entries = [{ id: entry?.id, lease: entry?.lease }];
    expect(await bob.as.status('DELETE', `${to.path}/inbox/`, { entries })).toBe(200);
    // The right to one topic of the pattern is taken away, and given back.
    const denial = await root.create(
      RULE,
      rule(`topic:${pub}.eu`, { operations: ['topic.subscribe'], deny: [`user:${bob.name}`] }),
    );
    await send(alice.as, 'l32', { ...topics, 'cmbs.message.message_content': 'denied' }, from.id);
    await eventually(
      async () => (await root.ask('GET', '/metrics')).text,
      (metrics) => metrics.includes('reason="not allowed any more"'),
      'the message is dropped',
    );
    expect(await root.status('DELETE', denial)).toBe(200);
    await send(alice.as, 'l32', { ...topics, 'cmbs.message.message_content': 'allowed' }, from.id);
    const next = await bob.as.ask('GET', `${to.path}/inbox/?wait=20`);
    expect(next.text).toContain('allowed');
    expect(next.text).not.toContain('denied');
    expect(await root.status('DELETE', reads)).toBe(200);
  });
});

it('says at the start that no administrator can log in', async () => {
  const config = readConfig({
    ...{ PORT: '0', CMBS_DATA_DIR: mkdtempSync(join(directory, 'empty-')), CMBS_LOG: 'silent', ...ANY_PORT },
    ...{ CMBS_IDENTITIES: 'basic,token', CMBS_ADMINISTRATORS: 'root' },
  });
  const log = new RecordedLog();
  const stack = await startStack({ config, log });
  await stack.close();
  const said = 'no administrator can log in; set CMBS_ADMIN_PASSWORD_FILE';
  expect(log.lines.map(({ message }) => message)).toContain(said);
});

describe('rights of others than the caller', () => {
  /** A peer that answers at an address, and the frames that it got. */
  async function peer(address: string): Promise<readonly string[]> {
    const frames: string[] = [];
    const socket = new Reply();
    await socket.bind(address);
    closing.push(() => socket.close());
    void (async () => {
      for await (const [frame] of socket) {
        frames.push(String(frame));
        await socket.send('{}');
      }
    })();
    return frames;
  }
  const closing: (() => void)[] = [];
  afterEach(() => {
    for (const close of closing.splice(0)) close();
  });

  it('a member elsewhere gets the topics that its owner may have, and no others', async () => {
    const spy = await user();
    const [topic, address] = [unique('news'), await freeSocket()];
    await root.create(
      RULE,
      rule(`topic:${topic}.>`, { operations: ['topic.subscribe'], allow: [`user:${spy.name}`] }),
    );
    await root.create(
      RULE,
      rule(`topic:${topic}.secret`, { operations: ['topic.subscribe'], deny: [`user:${spy.name}`] }),
    );
    const frames = await peer(address);
    const remote = {
      'cmbs.member.local': 'False',
      'cmbs.member.topics': [`${topic}.>`],
      'cmbs.member.l32_socket': address,
    };
    await spy.as.create(MEMBER, remote);
    const from = await member(root, []);
    const publish = (name: string): Promise<JsonObject> =>
      send(root, 'l32', { 'cmbs.message.topics': [`${topic}.${name}`] }, from.id);
    await publish('secret');
    await publish('open');
    await eventually(
      () => frames,
      (got) => got.some((frame) => frame.includes(`${topic}.open`)),
      'the other topic has arrived',
    );
    expect(frames.join('')).not.toContain(`${topic}.secret`);
  });

  it('a message that waits does not go out when its sender has lost the topic or the member', async () => {
    const bob = await user();
    const [topic, address] = [unique('news'), await freeSocket()];
    const publishes = await root.create(
      RULE,
      rule(`topic:${topic}`, { operations: ['topic.*'], allow: [`user:${bob.name}`] }),
    );
    // Nobody answers at the address yet, so the message waits.
    await root.create(MEMBER, {
      'cmbs.member.local': 'False',
      'cmbs.member.topics': [topic],
      'cmbs.member.l32_socket': address,
    });
    const from = await member(bob.as, []);
    const content = { 'cmbs.message.topics': [topic], 'cmbs.message.message_content': 'late' };
    const path = await bob.as.create(MESSAGE, content, unique('e'), [`${CMBS}l32`]);
    const body = { attributes: { from: from.id } };
    const queued = await bob.as.ask('POST', `${path}?action=send_l32`, body, { Prefer: 'respond-async' });
    expect(queued.status).toBe(202);
    expect(await root.status('DELETE', publishes)).toBe(200);
    const frames = await peer(address);
    const message = await eventually(
      async () => (await bob.as.ask('GET', path)).json.attributes as JsonObject,
      (attributes) => {
        const { receivers } = attributes['cmbs.message.delivery'] as { receivers: readonly JsonObject[] };
        return receivers.some(({ state }) => state === 'failed');
      },
      'the delivery has failed',
    );
    expect(JSON.stringify(message)).toContain('topic.publish');
    expect(frames).toEqual([]);
  });

  it('an access token limits its messages where they arrive', async () => {
    const bob = await user();
    const to = await member(bob.as, ['l1']);
    const from = await member(bob.as, []);
    const tokenFor = async (operations: readonly string[]): Promise<Caller> => {
      const attributes = { 'cmbs.access.token.operations': operations };
      const made = await bob.as.ask('POST', '/cmbs/access/token/', { kind: TOKEN, attributes });
      return new Caller(`Bearer ${made.headers.get('cmbs-token') ?? ''}`);
    };
    const sending = ['entity.read', 'entity.create', 'action.invoke'];
    const messages = ['message.send', 'message.send_as', 'message.deliver'];
    const attributes = { 'cmbs.message.l1_socket_receiver_member': to.socket };
    const low = await tokenFor([...sending, ...messages]);
    await expect(send(low, 'l1', attributes, from.id)).rejects.toThrow(
      /does not take your messages|message.receive/,
    );
    const high = await tokenFor([...sending, 'message.*']);
    expect(await send(high, 'l1', attributes, from.id)).toMatchObject({ state: 'delivered' });
  });

  it('who may not create learns nothing of categories from the errors of a creation', async () => {
    const kind = { term: unique('vault'), scheme: 'http://example.com/secret#', location: `/${unique('vault')}/` };
    const attributes = { 'secret.code': { type: 'string', required: false, mutable: true } };
    expect(await root.status('POST', '/-/', { kinds: [{ ...kind, attributes }] })).toBe(200);
    const id = kind.scheme + kind.term;
    const attempts = [
      [kind.location, { kind: MESSAGE, attributes: {} }],
      [kind.location, { kind: id, attributes: { 'secret.code': 5 } }],
      [kind.location, { kind: id, attributes: { 'secret.other': 5 } }],
      [kind.location, { kind: `${kind.scheme}nothing`, attributes: {} }],
      [kind.location, undefined],
      ['/cmbs/message/?send', { kind: id, attributes: { 'secret.other': 5 } }],
    ] as const;
    for (const [target, body] of attempts) {
      const answer = await nobody.ask('POST', target, body);
      expect([target, answer.status]).toEqual([target, 401]);
      expect(answer.text).not.toContain('secret');
    }
  });
});

describe('a path without the slash of its collection', () => {
  it('is answered with the place of the collection, also where an entity is hidden', async () => {
    const [alice, bob] = [await user(), await user()];
    const path = '/cmbs/message';
    const absent = await bob.as.ask('DELETE', path);
    expect([absent.status, absent.text]).toEqual([404, expect.stringContaining(`is at ${path}/, with a slash`)]);
    expect(await alice.as.status('PUT', path, { kind: MESSAGE })).toBe(201);
    const hidden = await bob.as.ask('DELETE', path);
    expect([hidden.status, hidden.text]).toEqual([404, absent.text]);
    expect(await alice.as.status('DELETE', path)).toBe(200);
  });
});

describe('a frame from elsewhere', () => {
  it('is passed on to remote members while a rule lets everybody', async () => {
    const bob = await user();
    const topic = unique('passed');
    await root.create(
      RULE,
      rule(`topic:${topic}`, { operations: ['topic.subscribe'], allow: [`user:${bob.name}`] }),
    );
    await root.create(RULE, rule(`topic:${topic}`, { operations: ['topic.publish'], allow: ['everybody'] }));
    const [address, listening] = [await freeSocket(), await freeSocket()];
    const { path } = await member(bob.as, ['l32'], { 'cmbs.member.l32_socket': address });
    await member(bob.as, [], {
      'cmbs.member.local': 'false',
      'cmbs.member.l32_socket': listening,
      'cmbs.member.topics': [topic],
    });
    await root.create(RULE, rule(`member:${path}`, { operations: ['message.forward'], allow: ['everybody'] }));
    const [peer, remote] = [new Request(), new Reply({ receiveTimeout: PATIENCE_MS })];
    await remote.bind(listening);
    peer.connect(address);
    const fields = { cmbs_layer: 'l32', topics: [topic], message_content: 'passed on', transfer: { v: 1 } };
    await peer.send(JSON.stringify({ kind: MESSAGE, id: unique('f'), attributes: { cmbs: { message: fields } } }));
    const [reply] = await peer.receive();
    expect(JSON.parse(String(reply))).not.toHaveProperty('error');
    const [frame] = await remote.receive();
    expect(String(frame)).toContain('passed on');
    await remote.send('{}');
    peer.close();
    remote.close();
  });
});

describe('attempts to get more rights', () => {
  const groups = (members: readonly string[]): JsonObject => ({ 'cmbs.access.group.members': members });

  it('by a group of administrators at another path, or of a kind below groups', async () => {
    const [carol, alice] = [await user(), await user()];
    const secret = await alice.as.message();
    const place = `/${unique('projects')}/`;
    await root.create(RULE, rule(`entity:${place}`, { operations: ['entity.create'], allow: ['known'] }));
    const members = groups([`user:${carol.name}`]);
    expect(await carol.as.status('PUT', `${place}admins`, { kind: GROUP, attributes: members })).toBe(409);
    const scheme = 'http://example.com/below#';
    const [term, location] = [unique('below'), `/${unique('below')}/`];
    const kind = { term, scheme, location, parent: GROUP };
    expect(await root.status('POST', '/-/', { kinds: [kind] })).toBe(200);
    const made = await carol.as.status('PUT', `${location}admins`, { kind: scheme + term, attributes: members });
    expect(made).not.toBe(201);
    expect(await carol.as.status('GET', secret)).toBe(404);
  });

  it('by taking a name that users, groups, tokens or rules could have', async () => {
    const carol = await user();
    expect(await carol.as.status('PUT', `/cmbs/access/user/${unique('free')}`, { kind: MESSAGE })).toBe(403);
    expect(await carol.as.status('PUT', '/cmbs/access/group/admins', { kind: MESSAGE })).toBe(403);
  });

  it('by links at entities of others, which stay as they are and show nothing', async () => {
    const [alice, bob] = [await user(), await user()];
    const [secret, other, own] = [await alice.as.message(), await alice.as.message(), await bob.as.message()];
    const link = (source: string, target: string): JsonObject => ({
      kind: 'http://schemas.ogf.org/occi/core#link',
      attributes: { 'occi.core.source': source, 'occi.core.target': target },
    });
    const before = (await alice.as.ask('GET', secret)).headers.get('etag');
    const path = `/link/${unique('l')}`;
    const hidden = await bob.as.ask('PUT', path, link(secret, own));
    const absent = await bob.as.ask('PUT', path, link('/cmbs/message/absent', own));
    expect([hidden.status, absent.status]).toEqual([400, 400]);
    expect(hidden.text.replaceAll(secret, 'X')).toBe(absent.text.replaceAll('/cmbs/message/absent', 'X'));
    expect(await bob.as.status('PUT', path, link(own, secret))).toBe(400);
    expect((await alice.as.ask('GET', secret)).headers.get('etag')).toBe(before);
    // Bob may read the message, and then sees it without Alice's own links.
    const kept = `/link/${unique('kept')}`;
    expect(await alice.as.status('PUT', kept, link(secret, other))).toBe(201);
    await alice.as.create(
      RULE,
      rule(`entity:${secret}`, { operations: ['entity.read'], allow: [`user:${bob.name}`] }),
    );
    expect((await alice.as.ask('GET', secret)).text).toContain(other.slice(other.lastIndexOf('/')));
    const shown = await bob.as.ask('GET', secret);
    expect(shown.status).toBe(200);
    expect(shown.text).not.toContain(other.slice(other.lastIndexOf('/')));
    expect(await bob.as.status('PUT', path, link(secret, own))).toBe(403);
  });

  it('by many rules at once, which would leave out the denial of an administrator', async () => {
    const carol = await user();
    const path = await carol.as.message();
    await root.create(
      RULE,
      rule(`entity:${path}`, { operations: ['entity.update'], deny: [`user:${carol.name}`] }),
    );
    const allow = rule(`entity:${path}`, { allow: [`user:${carol.name}`] });
    const prefix = unique('aaa');
    const batch = Array.from({ length: 60 }, (_, at) => ({
      kind: RULE,
      id: `${prefix}-${at}`,
      attributes: allow,
    }));
    expect(await carol.as.status('POST', '/cmbs/access/rule/', { resources: batch })).toBe(409);
    expect(await carol.as.status('POST', path, { attributes: { 'cmbs.message.sendable': 'false' } })).toBe(403);
  });

  it('by a token that changes the password of its owner, or itself', async () => {
    const bob = await user();
    const attributes = { 'cmbs.access.token.operations': ['entity.read', 'entity.update', 'entity.replace'] };
    const made = await bob.as.ask('POST', '/cmbs/access/token/', { kind: TOKEN, attributes });
    const token = new Caller(`Bearer ${made.headers.get('cmbs-token') ?? ''}`);
    const own = new URL(made.headers.get('location') ?? '').pathname;
    const password = { attributes: { 'cmbs.access.user.password': 'another password' } };
    expect(await token.status('POST', `/cmbs/access/user/${bob.name}`, password)).toBe(403);
    const later = { attributes: { 'cmbs.access.token.expires_at': '2099-01-01T00:00:00Z' } };
    expect(await token.status('POST', own, later)).toBe(403);
    expect(await bob.as.status('GET', own)).toBe(200);
  });

  it('by rules for the own user, and by the token of a deleted user of the same name', async () => {
    const bob = await user();
    const path = `/cmbs/access/user/${bob.name}`;
    const own = rule(`entity:${path}`, { allow: ['everybody'] });
    expect(await bob.as.status('PUT', `/cmbs/access/rule/${unique('r')}`, { kind: RULE, attributes: own })).toBe(
      403,
    );
    const made = await bob.as.ask('POST', '/cmbs/access/token/', { kind: TOKEN });
    const token = new Caller(`Bearer ${made.headers.get('cmbs-token') ?? ''}`);
    expect(await token.status('GET', path)).toBe(200);
    expect(await root.status('DELETE', path)).toBe(200);
    await root.create(USER, { 'cmbs.access.user.password': 'the next of this name' }, bob.name);
    expect(await token.status('GET', path)).toBe(401);
  });

  it('by asking what there is: collections, mixins, members', async () => {
    const [alice, bob] = [await user(), await user()];
    const place = `/${unique('hidden')}/`;
    await root.create(
      RULE,
      rule(`entity:${place}`, { operations: ['entity.create'], allow: [`user:${alice.name}`] }),
    );
    const message = { kind: MESSAGE };
    expect(await alice.as.status('PUT', `${place}one`, message)).toBe(201);
    expect(await alice.as.status('GET', place)).toBe(200);
    expect(await bob.as.status('GET', place)).toBe(404);
    expect(await nobody.status('GET', place)).toBe(401);
    expect(await nobody.status('GET', `/${unique('nothing')}/`)).toBe(401);
    const scheme = 'http://example.com/tags#';
    const [term, location] = [unique('tag'), `/${unique('tag')}/`];
    expect(await root.status('POST', '/-/', { mixins: [{ term, scheme, location }] })).toBe(200);
    const tagged = await alice.as.message();
    const locations = { 'X-OCCI-Location': [deployment.url + tagged] };
    expect(await alice.as.status('POST', location, locations)).toBe(200);
    const untagged = await bob.as.ask('DELETE', location);
    expect(untagged.status).toBe(403);
    expect(untagged.text).not.toContain(tagged);
  });

  it('by the answer to a request of the owner, with a token of fewer rights', async () => {
    const bob = await user();
    const attributes = { 'cmbs.access.token.operations': ['entity.read', 'entity.list'] };
    const made = await bob.as.ask('POST', '/cmbs/access/token/', { kind: TOKEN, attributes });
    const token = new Caller(`Bearer ${made.headers.get('cmbs-token') ?? ''}`);
    const path = await bob.as.message();
    const key = { 'Idempotency-Key': unique('key') };
    expect((await bob.as.ask('DELETE', path, undefined, key)).status).toBe(200);
    expect((await bob.as.ask('DELETE', path, undefined, key)).status).toBe(200);
    expect((await token.ask('DELETE', path, undefined, key)).status).toBe(404);
  });

  it('by a frame that claims to have been here, whose answer would describe members', async () => {
    const bob = await user();
    const address = await freeSocket();
    await root.create(
      RULE,
      rule(`topic:${unique('seen')}`, { operations: ['topic.subscribe'], allow: [`user:${bob.name}`] }),
    );
    const { path } = await member(bob.as, ['l32'], { 'cmbs.member.l32_socket': address });
    const peer = new Request();
    peer.connect(address);
    const fields = {
      cmbs_layer: 'l32',
      topics: ['weather'],
      message_content: 'x',
      path_history: [deployment.url + path],
      transfer: { v: 1 },
    };
    await peer.send(JSON.stringify({ kind: MESSAGE, id: unique('f'), attributes: { cmbs: { message: fields } } }));
    const [reply] = await peer.receive();
    peer.close();
    expect(JSON.parse(String(reply))).toEqual({
      error: { code: 'unauthenticated', message: expect.any(String) as unknown },
    });
  });

  it("by executing a message as somebody else's member", async () => {
    const [alice, bob] = [await user(), await user()];
    const from = await member(alice.as, []);
    const call = { 'cmbs.message.message_content': { id: 1, method: 'echo.echo', params: ['x'] } };
    const path = await bob.as.create(MESSAGE, call);
    const action = 'http://houssem.org/cmbs/message/action#execute';
    const status = await bob.as.status('POST', `${path}?action=execute`, {
      action,
      attributes: { from: from.id },
    });
    expect([400, 403, 404]).toContain(status);
  });
});

it('proves a frame to the member that it is for, and to no other', async () => {
  const [alice, bob] = [await user(), await user()];
  const from = await member(alice.as, []);
  const [one, two] = [await member(bob.as, ['l1']), await member(bob.as, ['l1'])];
  const peer = new Reply();
  const listening = await freeSocket();
  await peer.bind(listening);
  const caught = peer.receive();
  const sent = send(alice.as, 'l1', { 'cmbs.message.l1_socket_receiver_member': listening }, from.id).catch(
    String,
  );
  const [frame] = await caught;
  await peer.send('{}');
  await sent;
  peer.close();
  expect(String(frame)).toContain('"proof":"');
  for (const { socket } of [one, two]) {
    const again = new Request();
    again.connect(socket);
    await again.send(frame as Buffer);
    const [reply] = await again.receive();
    again.close();
    expect(JSON.parse(String(reply))).toMatchObject({ error: { code: 'unauthenticated' } });
  }
});
