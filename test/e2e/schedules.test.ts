/** Schedules on a closed deployment: who has them, for whom they run, and that they are kept. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Json, JsonObject } from '@cmbs/shared';
import { type Answer, Deployment, eventually, MEMBER, MESSAGE, unique } from './harness';

const ACCESS = 'http://houssem.org/cmbs/access#';
const PASSWORD = 'correct horse battery';
const directory = mkdtempSync(join(tmpdir(), 'cmbs-schedules-'));
const passwordFile = join(directory, 'password');
writeFileSync(passwordFile, `${PASSWORD}\n`);

let here: Deployment;

/** A caller with its own credentials. */
class Caller {
  /** @param member in whose name calls are made */
  constructor(
    readonly authorization: string,
    readonly member: string,
  ) {}

  static user(name: string, member = name): Caller {
    return new Caller(`Basic ${Buffer.from(`${name}:${PASSWORD}`).toString('base64')}`, member);
  }

  ask(method: string, target: string, body?: JsonObject): Promise<Answer> {
    return here.request(method, target, body, { Authorization: this.authorization });
  }

  create(path: string, kind: string, attributes: JsonObject): Promise<Answer> {
    return here.must(201, this.ask('PUT', path, { kind, attributes }));
  }

  /** Calls a method by a message with the action `execute`; resolves with the answer in JSON-RPC. */
  async call(method: string, ...params: readonly Json[]): Promise<JsonObject> {
    const path = `/cmbs/message/${unique('call')}`;
    await this.create(path, MESSAGE, {
      'cmbs.message.executable': 'true',
      'cmbs.message.message_content': { jsonrpc: '2.0', id: 1, method, params },
    });
    return (
      await here.must(200, this.ask('POST', `${path}?action=execute`, { attributes: { from: this.member } }))
    ).result;
  }

  async result<T = Json>(method: string, ...params: readonly Json[]): Promise<T> {
    const answer = await this.call(method, ...params);
    if (!('result' in answer)) throw new Error(`${method}: ${JSON.stringify(answer)}`);
    return answer.result as T;
  }

  schedule(id: string): Promise<Shown> {
    return this.result<Shown>('schedule.get', id);
  }
}

interface Shown {
  readonly created: string;
  readonly id: string;
  readonly state: string;
  readonly owner: string;
  readonly runs: number;
  readonly failures: number;
  readonly reason?: string;
  readonly last?: JsonObject;
}

const root = Caller.user('root', 'alice');
const alice = Caller.user('alice');
const bob = Caller.user('bob');

beforeAll(async () => {
  here = await Deployment.start({
    env: {
      CMBS_IDENTITIES: 'basic,token',
      CMBS_ADMINISTRATORS: 'root',
      CMBS_ADMIN_PASSWORD_FILE: passwordFile,
    },
  });
  for (const name of ['alice', 'bob']) {
    await root.create(`/cmbs/access/user/${name}`, `${ACCESS}user`, { 'cmbs.access.user.password': PASSWORD });
  }
  for (const [name, caller] of [
    ['alice', alice],
    ['bob', bob],
  ] as const) {
    await caller.create(`/cmbs/member/${name}`, MEMBER, {});
  }
});
afterAll(async () => {
  await here.close();
  rmSync(directory, { recursive: true });
});

/** Runs a schedule until it is paused; resolves with the schedule. */
async function untilPaused(caller: Caller, id: string): Promise<Shown> {
  const before = (await caller.schedule(id)).failures;
  for (let failures = before + 1; failures <= before + 5; failures += 1) {
    await caller.result('schedule.run_now', id);
    await eventually(
      () => caller.schedule(id),
      (shown) => shown.failures === failures && shown.state !== 'running',
      `failure ${failures}`,
    );
  }
  return caller.schedule(id);
}

const made = async (caller: Caller): Promise<string> =>
  caller.result<string>('schedule.every', 3600, 'echo.echo', ['x']);

test('A schedule runs for its owner and is shown to the owner and to administrators only.', async () => {
  const id = await alice.result<string>('schedule.every', 1, 'echo.echo', ['hello', { deep: [1] }], {
    title: 'tick',
  });
  const shown = await eventually(
    () => alice.schedule(id),
    ({ runs }) => runs >= 2,
    'it has run twice',
  );
  expect(shown).toMatchObject({ owner: 'user:alice', title: 'tick', failures: 0, every: 1 });
  expect(shown.last).toMatchObject({ outcome: 'answer', result: ['hello', { deep: [1] }] });
  for (const method of ['get', 'cancel', 'pause', 'run_now']) {
    expect((await bob.call(`schedule.${method}`, id)).error).toMatchObject({
      code: -32000,
      data: { code: 'not_found' },
    });
  }
  expect(await bob.result('schedule.list')).toEqual({ schedules: [] });
  expect(await root.result('schedule.list')).toMatchObject({ schedules: [{ id, owner: 'user:alice' }] });
  expect(await root.result('schedule.cancel', id)).toBe(true);
  expect((await alice.call('schedule.get', id)).error).toMatchObject({ data: { code: 'not_found' } });
  const { text } = await here.must(200, root.ask('GET', '/metrics'));
  expect(text).toMatch(/^cmbs_schedule_runs\{outcome="answer"\} [2-9]/m);
});

test('A schedule that was made with a token is refused when the token is deleted, and then paused.', async () => {
  const token = (await alice.create('/cmbs/access/token/program', `${ACCESS}token`, {})).headers.get('CMBS-Token');
  const program = new Caller(`Bearer ${token ?? ''}`, 'alice');
  const id = await made(program);
  await program.result('schedule.run_now', id);
  await eventually(
    () => program.schedule(id),
    ({ last }) => last?.outcome === 'answer',
    'it runs',
  );
  await here.must(200, alice.ask('DELETE', '/cmbs/access/token/program'));
  const paused = await untilPaused(alice, id);
  expect(paused).toMatchObject({ state: 'paused', runs: 6, last: { outcome: 'fault', fault: { code: -32000 } } });
  expect(paused.reason).toMatch(/refused 5 times in a row: The access token of this schedule was deleted/);
  await alice.result('schedule.cancel', id);
});

test('A user who may not make a call any more cannot have it run by a schedule, nor can a deleted user.', async () => {
  const id = await made(bob);
  await root.create('/cmbs/access/rule/no-echo', `${ACCESS}rule`, {
    'cmbs.access.rule.target': 'method:echo.echo',
    'cmbs.access.rule.operations': ['service.call'],
    'cmbs.access.rule.deny': ['user:bob'],
  });
  expect((await untilPaused(bob, id)).reason).toMatch(
    /You may not do this \(service\.call of method:echo\.echo\)/,
  );
  expect((await bob.call('schedule.every', 3600, 'echo.echo', [])).error).toMatchObject({
    data: { code: 'forbidden' },
  });
  await here.must(200, root.ask('DELETE', '/cmbs/access/rule/no-echo'));
  expect(await bob.result('schedule.resume', id)).toMatchObject({ state: 'active' });
  await here.must(200, root.ask('DELETE', '/cmbs/access/user/bob'));
  expect((await untilPaused(root, id)).state).toBe('paused');
  // Another user of that name has the rights of bob, but did not ask for the calls.
  const { created } = await root.schedule(id);
  await eventually(
    () => Date.now() - Date.parse(created),
    (ms) => ms > 1000,
    'the clocks cannot differ by that',
  );
  await root.create('/cmbs/access/user/bob', `${ACCESS}user`, { 'cmbs.access.user.password': 'another password' });
  await root.result('schedule.resume', id);
  expect((await untilPaused(root, id)).reason).toMatch(
    /refused 5 times in a row: The user who made this schedule/,
  );
});

test('A schedule of a deleted user does not run for another user who gets the name.', async () => {
  await root.create('/cmbs/access/user/carol', `${ACCESS}user`, { 'cmbs.access.user.password': PASSWORD });
  const carol = Caller.user('carol');
  await carol.create('/cmbs/member/carol', MEMBER, {});
  const id = await carol.result<string>('schedule.every', 3600, 'acl.allow', [
    '/cmbs/message/of-the-next-carol',
    ['user:alice'],
    ['entity.read'],
  ]);
  await here.must(200, root.ask('DELETE', '/cmbs/access/user/carol'));
  await root.create('/cmbs/access/user/carol', `${ACCESS}user`, { 'cmbs.access.user.password': PASSWORD });
  await carol.create('/cmbs/message/of-the-next-carol', MESSAGE, {});
  const paused = await untilPaused(root, id);
  expect(paused).toMatchObject({ runs: 5, failures: 5 });
  expect(paused.reason).toMatch(/The user who made this schedule was deleted/);
  expect((await alice.ask('GET', '/cmbs/message/of-the-next-carol')).status).toBe(404);
});

test('A schedule is kept while the deployment is down, and a missed time is run afterwards.', async () => {
  const time = new Date(Date.now() + 1000).toISOString();
  const id = await alice.result<string>('schedule.at', time, 'echo.echo', ['kept']);
  await here.down();
  await eventually(
    () => Date.now() > Date.parse(time),
    (isLater) => isLater,
    'the time has come',
  );
  await here.up();
  const shown = await eventually(
    () => alice.schedule(id),
    ({ state }) => state === 'ended',
    'it has run',
  );
  expect(shown).toMatchObject({ runs: 1, failures: 0, last: { outcome: 'answer', result: ['kept'] } });
});
