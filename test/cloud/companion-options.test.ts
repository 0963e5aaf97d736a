/**
 * A program that assembles the companion can add its own authorization, exchanges, services and codecs; settings add a
 * directory of service modules.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startCloudCompanion } from '../../companion/cloud';
import { startCloudFunctions } from '@cmbs/emulator/cloud';
import { schemesOf, zeroMq, localAddresses } from '@cmbs/companion';
import { CmbsError, silentLog, type Authorize, type JsonObject } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import type { ServiceModule } from '@cmbs/shared/services';
import { line } from '../../examples/extending/line-codec';
import { memoryExchange } from '../../examples/extending/memory-exchange';
import { freePort } from '../integration/free-port';
import { PATIENCE_MS } from '../patience';
import { cloudEnvironment, configOf } from './deployment';
import { PATIENT_LIMITS } from './patient-limits';
import { moduleOf, WorkerProgram, writeModule } from '../integration/modules/support';
import { describeOnEmulators } from './support';

const CMBS = 'http://houssem.org/cmbs#';

const weather: ServiceModule = {
  name: 'weather',
  methods: {
    forecast: { documentation: 'Tells the weather.', signatures: [['array']], call: () => ['sun'] },
  },
};

describeOnEmulators('a companion whose program adds a module with the name of a built-in one', (hosts) => {
  test('does not start, and leaves its control port free', async () => {
    const port = await freePort();
    const config = configOf({ ...(await cloudEnvironment(hosts)), CMBS_CONTROL_PORT: String(port) });
    const options = { config, log: silentLog, limits: PATIENT_LIMITS };
    const services = [{ ...weather, name: 'kv' }];
    await expect(startCloudCompanion({ ...options, services })).rejects.toThrow('There is a module kv already.');
    const companion = await startCloudCompanion(options);
    expect(new URL(companion.url).port).toBe(String(port));
    await companion.close();
  });
});

describeOnEmulators('a companion assembled by a program', (hosts) => {
  const asked: string[] = [];
  let denied: string | undefined;
  const authorize: Authorize = (_principal, operation, { path }) => {
    asked.push(`${operation} ${path}`);
    return operation === denied ? Promise.reject(new CmbsError('forbidden', 'Not today.')) : Promise.resolve();
  };
  let url: string;
  const closing: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    const worker = new WorkerProgram();
    const directory = mkdtempSync(join(tmpdir(), 'cmbs-modules-'));
    const files = mkdtempSync(join(tmpdir(), 'cmbs-files-'));
    closing.push(async () => {
      worker.remove();
      rmSync(files, { recursive: true });
      rmSync(directory, { recursive: true });
    });
    writeModule(
      directory,
      'table',
      moduleOf(
        {
          rows: '() => rows',
          note: `async ({ file }) => {
            await file.put('note', Buffer.from('on the disk of the companion'));
            return [Buffer.from(await file.read('note')).toString()];
          }`,
          services: `async ({ discovery }) => {
            const { services } = await discovery.find({ item: { key: 'kind', value: 'member' } });
            const [table] = (await discovery.find({ name: 'table' })).services;
            return [...services.map(({ name }) => name), table?.endpoint[0].uri];
          }`,
        },
        `const rows = [];
export const startup = (server) => server.once('fill', () => void rows.push('one row'));`,
      ),
    );
    const config = configOf({
      ...(await cloudEnvironment(hosts)),
      CMBS_MODULES_DIR: directory,
      CMBS_FILES_DIR: files,
    });
    const exchange = memoryExchange();
    const schemes = schemesOf([zeroMq(localAddresses(readConfig({}))), exchange]);
    const functions = await startCloudFunctions({ config, log: silentLog, schemes, limits: PATIENT_LIMITS });
    closing.push(() => functions.close());
    url = functions.url;
    const companion = await startCloudCompanion({
      config,
      log: silentLog,
      authorize,
      exchanges: [exchange],
      services: [weather],
      codecs: [line],
      modules: { workerFile: worker.path },
      limits: PATIENT_LIMITS,
    });
    closing.unshift(() => companion.close());
    await companion.holding();
    await ask('PUT', '/cmbs/member/alice', { kind: `${CMBS}member` });
    await ask('PUT', '/cmbs/member/bob', {
      kind: `${CMBS}member`,
      attributes: { 'cmbs.member.l1_socket': 'mem://bob', 'cmbs.member.start': ['l1'] },
    });
  });
  afterAll(async () => {
    for (const close of closing) await close();
  });
  beforeEach(() => {
    asked.length = 0;
    denied = undefined;
  });

  const ask = async (method: string, target: string, body?: JsonObject): Promise<JsonObject> => {
    const response = await fetch(url + target, {
      method,
      headers: { Accept: 'application/json', 'Content-Type': 'application/json' },
      signal: AbortSignal.timeout(PATIENCE_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return (await response.json()) as JsonObject;
  };

  /** Sends a call from alice to bob; resolves with the attributes of the message. */
  const call = async (id: string, method = 'weather.forecast'): Promise<JsonObject> => {
    await ask('PUT', `/cmbs/message/${id}`, {
      kind: `${CMBS}message`,
      mixins: [`${CMBS}l1`],
      attributes: {
        'cmbs.message.l1_socket_receiver_member': 'mem://bob',
        'cmbs.message.message_content': `call ${method}`,
      },
    });
    await ask('POST', `/cmbs/message/${id}?action=send_l1`, {
      action: 'http://houssem.org/cmbs/message/action#send_l1',
      attributes: { from: 'alice' },
    });
    return (await ask('GET', `/cmbs/message/${id}`)).attributes as JsonObject;
  };

  test('receives a call over an added exchange, reads it with an added codec, and calls an added service', async () => {
    const { 'cmbs.message.result': result } = await call('sunny');
    expect(result).toMatchObject({ result: 'answer sun' });
    // The companion asks for the delivery, and for the service call at the receiver.
    expect(asked).toEqual(
      expect.arrayContaining(['message.deliver /cmbs/message/sunny', 'service.call service:weather.forecast']),
    );
  });

  test('calls a module of the directory, whose task has run under a lease in Firestore', async () => {
    const { 'cmbs.message.result': result } = await call('rows', 'table.rows');
    expect(result).toMatchObject({ result: 'answer one row' });
  });

  test('has files on a disk of its own, which the functions have not', async () => {
    const { 'cmbs.message.result': result } = await call('note', 'table.note');
    expect(result).toMatchObject({ result: 'answer on the disk of the companion' });
    expect(asked).toContain('entity.create /files/note');
    expect(await ask('GET', '/files/note')).toMatchObject({ error: { code: 'not_implemented' } });
  });

  test('publishes its modules, and finds members', async () => {
    const { 'cmbs.message.result': result } = await call('services', 'table.services');
    expect(result).toMatchObject({ result: expect.stringMatching(/^answer alice bob http\S+\/RPC2$/) as string });
  });

  test('does not deliver a message when the program denies it', async () => {
    denied = 'message.deliver';
    const attributes = await call('dark');
    expect(attributes['cmbs.message.result']).toEqual({ error: { code: 'failed', message: 'Not today.' } });
    expect(asked).toContain('message.deliver /cmbs/message/dark');
  });
});
