/** The README says what is: its commands run as they stand, its tables are those of the code. */
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { silentLog } from '@cmbs/shared';
import { CLOUD_SETTINGS, readConfig, SETTINGS, type Setting } from '@cmbs/shared/config';
import { busMessageOf } from '../../shared/broker/publication';
import { PubsubNames } from '../../shared/bus/pubsub/names';
import { MEMBER_KIND, ORIGINAL_PORTS } from '@cmbs/shared/broker';
import { startStack, type Stack } from '@cmbs/emulator/stack';
import { freePort } from '../integration/free-port';
import { PATIENCE_MS } from '../patience';

const ROOT = join(__dirname, '../..');
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');

function section(name: string): string {
  const found = new RegExp(`<!-- ${name} -->([\\s\\S]*?)<!-- /${name} -->`).exec(README)?.[1];
  if (found === undefined) throw new Error(`the README has no section ${name}`);
  return found;
}

/** Commands of a section's shell block, one a line, comments left out. */
function commands(name: string): readonly string[] {
  return section(name)
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#') && !line.startsWith('```'));
}

function hasCurl(): boolean {
  try {
    execFileSync('curl', ['--version']);
    return true;
  } catch {
    console.warn('skipped: the commands of the README need curl, which is not on this machine');
    return false;
  }
}

(hasCurl() ? describe : describe.skip)('the commands of the README', () => {
  const home = mkdtempSync(join(tmpdir(), 'cmbs-readme-'));
  const ports = new Map<string, string>();
  let stack: Stack;

  /** The README's fixed ports become free ones, so that tests can run beside a real stack. */
  const moved = (text: string): string =>
    [...ports].reduce((changed, [from, to]) => changed.replaceAll(`127.0.0.1:${from}`, `127.0.0.1:${to}`), text);

  beforeAll(async () => {
    for (const port of ['5010', '5020', '5031', '5032', '5040', '6010']) ports.set(port, String(await freePort()));
    // Ports that a member gets which names none are free ones, too.
    const allotted: number[] = [];
    while (allotted.length < 5) allotted.push(await freePort());
    const env = {
      PORT: '0',
      CMBS_DATA_DIR: join(home, 'data'),
      CMBS_LOG: 'silent',
      CMBS_PORT_RANGE: [...ports.values(), ...allotted].join(','),
    };
    stack = await startStack({ config: readConfig(env), log: silentLog });
    ports.set('8090', new URL(stack.url).port);
    const elsewhere = {
      'cmbs.member.l32_socket': `tcp://127.0.0.1:${ORIGINAL_PORTS.l32}`,
      'cmbs.member.local': 'false',
    };
    const made = await fetch(`${stack.url}/cmbs/member/elsewhere`, {
      method: 'PUT',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ kind: MEMBER_KIND, attributes: elsewhere }),
    });
    expect(made.status).toBe(201);
    const fixtures = join(home, 'test/fixtures/pycmbs');
    cpSync(join(ROOT, 'test/fixtures/pycmbs'), fixtures, { recursive: true });
    for (const name of readdirSync(fixtures)) {
      const file = join(fixtures, name);
      writeFileSync(file, moved(readFileSync(file, 'utf8')));
    }
  });

  afterAll(async () => {
    await stack.close();
    rmSync(home, { recursive: true, force: true });
  });

  const run = async (command: string): Promise<string> =>
    (
      await promisify(execFile)('sh', ['-c', `${moved(command)} --fail-with-body`], {
        cwd: home,
        timeout: PATIENCE_MS,
      })
    ).stdout;

  it('replay the flow of the original, and the message comes back with its result', async () => {
    const answers: string[] = [];
    for (const command of commands('flow')) answers.push(await run(command));
    expect(answers).toHaveLength(11);
    expect(answers[5]).toContain('nobody listens there');
    const sent = JSON.parse(answers[9] ?? '') as {
      attributes: { cmbs: { message: { result: { sockets_l1: string[] }; delivery: { state: string } } } };
    };
    expect(sent.attributes.cmbs.message.delivery.state).toBe('delivered');
    expect(sent.attributes.cmbs.message.result.sockets_l1).toEqual([`tcp://127.0.0.1:${ports.get('5010') ?? ''}`]);
    const inbox = JSON.parse(answers[10] ?? '') as { entries: { message_id: string }[] };
    expect(inbox.entries.map((entry) => entry.message_id)).toEqual(['0101d860-2a9a-504f-8861-aeafd0b20101']);
  });

  it('run a call where it arrives', async () => {
    const [send = ''] = commands('call');
    const sent = JSON.parse(await run(send)) as { attributes: { 'cmbs.message.result': { result: unknown } } };
    expect(sent.attributes['cmbs.message.result'].result).toEqual({ id: 1, result: ['hello'] });
  });

  it('bring a message on a topic to whoever wants it', async () => {
    const answers: string[] = [];
    for (const command of commands('topic')) answers.push(await run(command));
    const inbox = JSON.parse(answers.at(-1) ?? '') as { entries: { message_id: string }[] };
    expect(inbox.entries.map((entry) => entry.message_id)).toEqual(['news']);
  });
});

describe('the tables of the README', () => {
  const rows = (text: string): readonly string[] =>
    text
      .split('\n')
      .filter((line) => line.startsWith('|'))
      .slice(2)
      .map((line) =>
        line
          .split('|')
          .map((cell) => cell.trim())
          .join('|'),
      );

  const described = (settings: Readonly<Record<string, Setting>>): readonly string[] =>
    Object.entries(settings).map(([name, { fallback, help }]) => {
      const shown = fallback === undefined || fallback === '' ? '' : `\`${fallback}\``;
      return `|\`${name}\`|${shown}|${help}|`;
    });

  it('list every setting with its default and meaning', () => {
    expect(rows(section('settings'))).toEqual(described(SETTINGS));
  });

  it("list what the cloud's parts have besides", () => {
    const more = Object.entries<Setting>(CLOUD_SETTINGS).filter(([name]) => !Object.hasOwn(SETTINGS, name));
    expect(rows(section('cloud-settings'))).toEqual(described(Object.fromEntries(more)));
  });

  it('name every attribute of a publication', () => {
    const { attributes } = busMessageOf({
      layer: 'l32',
      topic: 'weather.tokyo',
      message: '/cmbs/message/one',
      sendId: 'send',
      sender: 'http://broker.example/cmbs/member/alice',
      at: 0,
      frame: '{}',
      orderingKey: undefined,
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    });
    const named = rows(section('attributes'))
      .flatMap((row) => row.split('|').slice(1, 3))
      .flatMap((cell) => [...cell.matchAll(/`([a-z][a-z_-]*)`/g)].map(([, name]) => name));
    expect(named.sort()).toEqual(Object.keys(attributes).sort());
  });

  it('name a topic in Pub/Sub as the bus does', () => {
    const names = new PubsubNames('cmbs');
    for (const topic of ['weather.tokyo', 'wétter.東京']) {
      expect(README).toContain(`\`${names.topic('l32', topic)}\``);
    }
    expect(README).toContain(`\`${names.deadLetters}\``);
    expect(README).toContain(`\`${names.keptDeadLetters}\``);
  });
});
