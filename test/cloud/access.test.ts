/** Access rules on Firestore: effective in every process within two seconds, and a closed deployment that sends on L1. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startCloudFunctions, type CloudFunctions } from '@cmbs/emulator/cloud';
import { type JsonObject, silentLog } from '@cmbs/shared';
import { startCloudCompanion, type CloudCompanion } from '../../companion/cloud';
import { eventually, freeSocket, MEMBER, MESSAGE, unique } from '../e2e/harness';
import { freePort } from '../integration/free-port';
import { cloudEnvironment, configOf, type EnvironmentVariables } from './deployment';
import { RecordedLog } from '../recorded';
import { Program } from './processes';
import { describeOnEmulators } from './support';

const RULE = 'http://houssem.org/cmbs/access#rule';
const USER = 'http://houssem.org/cmbs/access#user';
/** A rule counts everywhere within so many milliseconds (docs/access.md). */
const EFFECTIVE_MS = 2000;

describeOnEmulators('a closed deployment', (hosts) => {
  const directory = mkdtempSync(join(tmpdir(), 'cmbs-cloud-access-'));
  let env: EnvironmentVariables;
  let functions: readonly CloudFunctions[] = [];
  let companions: readonly CloudCompanion[] = [];

  function passwordFile(content: string): string {
    const file = join(directory, unique('password'));
    writeFileSync(file, content);
    return file;
  }

  beforeAll(async () => {
    env = await cloudEnvironment(hosts, { CMBS_IDENTITIES: 'basic', CMBS_ADMINISTRATORS: 'root' });
    const config = configOf(env);
    const other = configOf({ ...env, PORT: String(await freePort()) });
    functions = [
      await startCloudFunctions({ config, log: silentLog }),
      await startCloudFunctions({ config: other, log: silentLog }),
    ];
    const file = { CMBS_ADMIN_PASSWORD_FILE: passwordFile('password of root\n') };
    const standby = { ...env, ...file, CMBS_CONTROL_PORT: String(await freePort()) };
    companions = await Promise.all(
      [{ ...env, ...file }, standby].map((one) => startCloudCompanion({ config: configOf(one), log: silentLog })),
    );
    await Promise.race(companions.map((one) => one.holding()));
  });
  afterAll(async () => {
    for (const one of companions) await one.close();
    for (const one of functions) await one.close();
    rmSync(directory, { recursive: true });
  });

  it('has a first administrator, whom the companions make from the file when they start, once', async () => {
    const path = '/cmbs/access/user/root';
    expect(await ask(0, 'root', 'GET', path)).toMatchObject({ status: 200, json: { id: 'root' } });
    const changed = { CMBS_ADMIN_PASSWORD_FILE: passwordFile('another password'), CMBS_CONTROL_PORT: '0' };
    const log = new RecordedLog();
    const later = await startCloudCompanion({ config: configOf({ ...env, ...changed }), log });
    // A companion waits for the lease of the shard after it has looked for the user.
    await eventually(
      () => log.lines.map(({ message }) => message),
      (all) => all.some((message) => message.startsWith('standing by')),
      'the companion waits for the lease',
    );
    await later.close();
    expect((await ask(1, 'root', 'GET', path)).status).toBe(200);
  });

  it.each([
    ['is missing', () => join(directory, 'nothing'), 'the file cannot be read: ENOENT'],
    ['is empty', () => passwordFile('\nsecond line'), 'write the password of root in its first line'],
    ['has a short password', () => passwordFile('short'), 'takes 8 characters at least'],
  ])('does not start a companion whose password file %s', async (_which, file, says) => {
    const settings = { ...env, CMBS_ADMIN_PASSWORD_FILE: file(), CMBS_CONTROL_PORT: '0' };
    await expect(startCloudCompanion({ config: configOf(settings), log: silentLog })).rejects.toThrow(says);
  });

  it('does not start npm run start:cloud without the password file that it should have', async () => {
    const settings = {
      ...env,
      PORT: '0',
      CMBS_CONTROL_PORT: '0',
      CMBS_ADMIN_PASSWORD_FILE: join(directory, 'nothing'),
    };
    const program = new Program('local/cloud.js', [], settings);
    expect((await program.ended).code).toBe(1);
    expect(program.lines).toEqual([
      expect.stringMatching(/^CMBS_ADMIN_PASSWORD_FILE: the file cannot be read: ENOENT/),
    ]);
  });

  /** Asks one of the two processes. */
  async function ask(
    process: 0 | 1,
    name: string,
    method: string,
    path: string,
    body?: JsonObject,
  ): Promise<{ readonly status: number; readonly json: JsonObject; readonly link: string }> {
    const answer = await fetch((functions[process] as CloudFunctions).url + path, {
      method,
      headers: {
        Accept: 'application/json',
        Authorization: `Basic ${Buffer.from(`${name}:password of ${name}`).toString('base64')}`,
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    const link = answer.headers.get('link') ?? '';
    return { status: answer.status, json: (text === '' ? {} : JSON.parse(text)) as JsonObject, link };
  }

  async function user(): Promise<string> {
    const name = unique('user');
    const attributes = { 'cmbs.access.user.password': `password of ${name}` };
    const { status } = await ask(0, 'root', 'PUT', `/cmbs/access/user/${name}`, { kind: USER, attributes });
    expect(status).toBe(201);
    return name;
  }

  it('has each rule in every process within two seconds, and at once in the process that wrote it', async () => {
    const [alice, bob] = [await user(), await user()];
    const path = `/cmbs/message/${unique('shared')}`;
    expect((await ask(0, alice, 'PUT', path, { kind: MESSAGE })).status).toBe(201);
    const seen = async (process: 0 | 1): Promise<number> => (await ask(process, bob, 'GET', path)).status;
    expect([await seen(0), await seen(1)]).toEqual([404, 404]);
    const rule = `/cmbs/access/rule/${unique('rule')}`;
    const attributes = { 'cmbs.access.rule.target': `entity:${path}`, 'cmbs.access.rule.allow': [`user:${bob}`] };
    for (const [write, status] of [
      [() => ask(0, alice, 'PUT', rule, { kind: RULE, attributes }), 200],
      [() => ask(0, alice, 'DELETE', rule), 404],
    ] as const) {
      await write();
      const written = performance.now();
      expect(await seen(0)).toBe(status);
      const follows = async (): Promise<boolean> => {
        const isLate = performance.now() - written > EFFECTIVE_MS;
        const now = await seen(1);
        // However slow the machine, what is asked later than that has to be answered by the new rule.
        if (isLate) expect(now).toBe(status);
        return now === status;
      };
      await eventually(follows, (does) => does, 'the other process follows');
    }
    const listed = await ask(1, alice, 'GET', '/cmbs/message/');
    expect(JSON.stringify(listed.json)).toContain(path.slice(path.lastIndexOf('/') + 1));
  });

  it('takes the cursor of one process in another one, and no cursor that it did not give out', async () => {
    const alice = await user();
    const paths = [unique('one'), unique('two')].map((id) => `/cmbs/message/${id}`).sort();
    for (const path of paths) expect((await ask(0, alice, 'PUT', path, { kind: MESSAGE })).status).toBe(201);
    const first = await ask(0, alice, 'GET', '/cmbs/message/?number=1');
    const cursor = /[?&]cursor=([\w-]+)/.exec(first.link)?.[1] ?? '';
    const next = await ask(1, alice, 'GET', `/cmbs/message/?number=1&cursor=${cursor}`);
    const ids = [first, next].flatMap(({ json }) => (json.resources as JsonObject[]).map(({ id }) => id));
    expect(ids).toEqual(paths.map((path) => path.slice(path.lastIndexOf('/') + 1)));
    const readable = Buffer.from(JSON.stringify(['i', paths[0]])).toString('base64url');
    expect((await ask(1, alice, 'GET', `/cmbs/message/?cursor=${readable}`)).status).toBe(400);
  });

  it('sends on L1 between its members, with rules that the companion reads', async () => {
    const [alice, bob] = [await user(), await user()];
    const socket = await freeSocket();
    const [from, to] = [unique('from'), unique('to')];
    const member = (name: string, id: string, more: JsonObject): Promise<{ readonly status: number }> =>
      ask(0, name, 'PUT', `/cmbs/member/${id}`, {
        kind: MEMBER,
        attributes: { 'cmbs.member.local': 'true', 'cmbs.member.state': 'active', ...more },
      });
    expect((await member(alice, from, {})).status).toBe(201);
    expect((await member(bob, to, { 'cmbs.member.l1_socket': socket, 'cmbs.member.start': ['l1'] })).status).toBe(
      201,
    );
    const message = `/cmbs/message/${unique('message')}`;
    const made = await ask(0, alice, 'PUT', message, {
      kind: MESSAGE,
      mixins: ['http://houssem.org/cmbs#l1'],
      attributes: {
        'cmbs.message.cmbs_layer': 'l1',
        'cmbs.message.l1_socket_receiver_member': socket,
        'cmbs.message.message_content': { a: 1 },
      },
    });
    expect(made.status).toBe(201);
    const send = (): Promise<{ readonly status: number; readonly json: JsonObject }> =>
      ask(0, alice, 'POST', `${message}?action=send_l1`, {
        action: 'http://houssem.org/cmbs/message/action#send_l1',
        attributes: { from },
      });
    // The companion decides where the message arrives: for the member of alice, which has the rights of alice.
    expect(await send()).toMatchObject({ status: 409 });
    const rule = {
      'cmbs.access.rule.target': `member:/cmbs/member/${to}`,
      'cmbs.access.rule.operations': ['message.receive'],
      'cmbs.access.rule.allow': [`user:${alice}`],
    };
    const path = `/cmbs/access/rule/${unique('rule')}`;
    expect((await ask(1, bob, 'PUT', path, { kind: RULE, attributes: rule })).status).toBe(201);
    const sent = await eventually(send, ({ status }) => status === 200, 'the companion knows the rule');
    expect(sent.json).toMatchObject({ attributes: { 'cmbs.message.delivery': { state: 'delivered' } } });
    const inbox = await ask(1, bob, 'GET', `/cmbs/member/${to}/inbox/`);
    expect(inbox.json.entries).toHaveLength(1);
    expect((await ask(1, alice, 'GET', `/cmbs/member/${to}/inbox/`)).status).toBe(403);
  });
});
