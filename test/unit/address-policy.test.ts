import {
  AddressPolicy,
  cloudAddresses,
  localAddresses,
  type AddressSettings,
} from '../../companion/address-policy';
import { addressInside, isPublic, neverKind } from '../../companion/ip-ranges';
import { CmbsError } from '@cmbs/shared';
import { readCloudConfig, readConfig } from '@cmbs/shared/config';

const CLOSED: AddressSettings = { isOnLoopback: false, ranges: [], ports: [[5000, 6999]], ownHosts: [] };
const policy = (settings: Partial<AddressSettings> = {}): AddressPolicy =>
  new AddressPolicy({ ...CLOSED, ...settings });
const onLoopback = (settings: Partial<AddressSettings> = {}): AddressPolicy =>
  policy({ isOnLoopback: true, ...settings });

/** 'allowed', or the message of the refusal. */
function verdict(ask: () => unknown): string {
  try {
    ask();
    return 'allowed';
  } catch (error) {
    if (error instanceof CmbsError) return `${error.code}: ${error.message}`;
    throw error;
  }
}
const dialled = (rules: AddressPolicy, address: string): string => verdict(() => rules.toDial(address));
const bound = (rules: AddressPolicy, address: string): string => verdict(() => rules.toBind(address));
const at = (ip: string): string => (ip.includes(':') ? `tcp://[${ip}]:5010` : `tcp://${ip}:5010`);

describe('an IPv6 address that wraps an IPv4 address', () => {
  it.each([
    ['::ffff:10.1.2.3', '10.1.2.3'],
    ['::FFFF:a01:203', '10.1.2.3'],
    ['0:0:0:0:0:ffff:a01:203', '10.1.2.3'],
    ['::ffff:0:10.1.2.3', '10.1.2.3'],
    ['::10.1.2.3', '10.1.2.3'],
    ['64:ff9b::a01:203', '10.1.2.3'],
    ['64:ff9b::10.1.2.3', '10.1.2.3'],
    ['2002:a01:203::1', '10.1.2.3'],
    ['2002:a01:203:1:2:3:4:5', '10.1.2.3'],
    ['::1', '::1'],
    ['::', '::'],
    ['2a00:1450:4001::8', '2a00:1450:4001::8'],
    ['fe80::1%eth0', 'fe80::1'],
    ['192.0.2.7', '192.0.2.7'],
  ])('%s is judged as %s', (ip, inside) => {
    expect(addressInside(ip)).toBe(inside);
  });
});

const NEVER = [
  '0.1.2.3',
  '169.254.169.254',
  '169.254.0.1',
  '224.0.0.1',
  '239.255.255.255',
  '255.255.255.255',
  '100.100.100.200',
  '168.63.129.16',
  'fe80::1',
  'febf::1',
  'ff02::1',
  'fd00:ec2::254',
  'fd20:ce::254',
  '64:ff9b:1::a9fe:a9fe',
  '2001:0:102:304::1',
  '::ffff:169.254.169.254',
  '::ffff:a9fe:a9fe',
  '::169.254.169.254',
  '64:ff9b::169.254.169.254',
  '2002:a9fe:a9fe::1',
];
const SPECIAL = [
  '10.0.0.1',
  '100.64.0.1',
  '127.0.0.1',
  '127.255.255.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '198.18.0.1',
  '203.0.113.1',
  '240.0.0.1',
  '::1',
  'fc00::1',
  'fd12:3456::1',
  'fec0::1',
  '2001:db8::1',
  '3fff::1',
  '100::1',
  '::ffff:127.0.0.1',
  '64:ff9b::10.0.0.1',
  '2002:7f00:1::1',
];
const PUBLIC = [
  '8.8.8.8',
  '172.32.0.1',
  '100.128.0.1',
  '198.20.0.1',
  '2a00:1450:4001::8',
  '2600::1',
  '64:ff9b::8.8.8.8',
];

describe('a connection', () => {
  it.each(NEVER)('to %s is refused, whatever the settings', (ip) => {
    expect(neverKind(ip)).toBeDefined();
    for (const rules of [policy(), onLoopback(), policy({ ranges: ['0.0.0.0/0', '::/0'], ownHosts: [ip] })]) {
      expect(dialled(rules, at(ip))).toMatch(/^(forbidden: .* where no member can be|bad_attribute: )/);
      expect(
        verdict(() => rules.checkDialled({ scheme: 'tcp', text: 'tcp://name:1', host: 'name', port: 1 }, ip)),
      ).toMatch(/^forbidden: The address tcp:\/\/name:1 is .* where no member can be/);
    }
  });

  it.each(SPECIAL)(
    'to %s is refused unless the deployment is on loopback or CMBS_ADDRESS_RANGES lists it',
    (ip) => {
      expect(isPublic(ip)).toBe(false);
      expect(dialled(policy(), at(ip))).toMatch(/^forbidden: .*list it in CMBS_ADDRESS_RANGES/);
      expect(dialled(policy({ ranges: ['192.0.3.0/24'] }), at(ip))).toMatch(/^forbidden/);
      expect(dialled(onLoopback(), at(ip))).toBe('allowed');
      const inside = addressInside(ip);
      expect(dialled(policy({ ranges: [`${inside}/${inside.includes(':') ? 128 : 32}`] }), at(ip))).toBe(
        'allowed',
      );
    },
  );

  it.each(PUBLIC)('to %s is allowed everywhere', (ip) => {
    expect(isPublic(ip)).toBe(true);
    for (const rules of [policy(), onLoopback()]) expect(dialled(rules, at(ip))).toBe('allowed');
  });

  it('to a name is decided by the address that the name resolves to', () => {
    const rules = policy();
    const address = rules.toDial('tcp://somewhere.example:7000');
    expect(verdict(() => rules.checkDialled(address, '8.8.8.8'))).toBe('allowed');
    expect(verdict(() => rules.checkDialled(address, '10.0.0.1'))).toMatch(/^forbidden: .*CMBS_ADDRESS_RANGES/);
    expect(verdict(() => rules.checkDialled(address, '::ffff:10.0.0.1'))).toMatch(/^forbidden/);
  });

  it('to a host of the deployment itself is decided like any other, since other services listen there too', () => {
    const rules = policy({ ownHosts: ['broker.internal', '10.0.0.5'] });
    expect(dialled(rules, 'tcp://10.0.0.5:5432')).toMatch(/^forbidden/);
    const own = rules.toDial('tcp://Broker.Internal:6000');
    expect(verdict(() => rules.checkDialled(own, '10.0.0.9'))).toMatch(/^forbidden/);
    expect(verdict(() => rules.checkDialled(own, '8.8.8.8'))).toBe('allowed');
  });

  it('that fails is reported at once only when no other machine can call', () => {
    expect(onLoopback().unreachedAfterMs('127.0.0.1')).toBe(0);
    expect(onLoopback().unreachedAfterMs(undefined)).toBe(0);
    for (const ip of ['127.0.0.1', '10.0.0.1', undefined]) expect(policy().unreachedAfterMs(ip)).toBe(3000);
    expect(onLoopback().unreachedAfterMs('10.0.0.1')).toBe(3000);
    expect(policy({ unreachedAfterMs: 7 }).unreachedAfterMs('8.8.8.8')).toBe(7);
  });
});

describe('a socket', () => {
  it('of a deployment on loopback is bound to loopback only', () => {
    for (const host of ['127.0.0.1', '127.9.9.9', '[::1]', 'localhost', '[::ffff:127.0.0.1]']) {
      expect(bound(onLoopback(), `tcp://${host}:5010`)).toBe('allowed');
    }
    for (const host of ['192.168.1.5', '10.0.0.1', '8.8.8.8', '[fe80::1]', '[2a00::1]', '169.254.1.1']) {
      expect(bound(onLoopback(), `tcp://${host}:5010`)).toMatch(
        /^forbidden: .*CMBS_BIND_HOST.*CMBS_ADDRESS_RANGES/,
      );
    }
    for (const host of ['0.0.0.0', '*', '[::]']) {
      expect(bound(onLoopback(), `tcp://${host}:5010`)).toMatch(/^forbidden: .*every interface.*CMBS_BIND_HOST/);
    }
  });

  it('of another deployment is bound to hosts that the operator named', () => {
    expect(bound(policy(), 'tcp://127.0.0.1:5010')).toMatch(/^forbidden/);
    const rules = policy({ ownHosts: ['broker.example', '10.0.0.5'], ranges: ['192.168.0.0/16', 'fd00::/8'] });
    for (const host of ['10.0.0.5', '192.168.7.7', '[fd00::7]', 'broker.example', 'BROKER.example']) {
      expect(bound(rules, `tcp://${host}:5010`)).toBe('allowed');
    }
    for (const host of ['10.0.0.6', '127.0.0.1', '0.0.0.0', '*']) {
      expect(bound(rules, `tcp://${host}:5010`)).toMatch(/^forbidden/);
    }
  });

  it('at a name is decided by the address that the name resolves to', () => {
    const rules = onLoopback({ ownHosts: ['broker.example'] });
    const other = rules.toBind('tcp://other.example:5010');
    expect(verdict(() => rules.checkBound(other, '127.0.0.1'))).toBe('allowed');
    expect(verdict(() => rules.checkBound(other, '192.168.1.5'))).toMatch(/^forbidden/);
    const own = rules.toBind('tcp://broker.example:5010');
    expect(verdict(() => rules.checkBound(own, '192.168.1.5'))).toBe('allowed');
    expect(verdict(() => rules.checkBound(own, '0.0.0.0'))).toMatch(/^forbidden/);
  });

  it('is bound to CMBS_BIND_HOST if it is set, whatever its member advertises', () => {
    const rules = policy({ bindHost: '0.0.0.0' });
    for (const host of ['203.0.113.9', 'broker.example', '127.0.0.1', '*']) {
      expect(rules.toBind(`tcp://${host}:5010`).text).toBe('tcp://0.0.0.0:5010');
    }
    expect(bound(rules, 'tcp://203.0.113.9:80')).toMatch(/^forbidden: .*CMBS_PORT_RANGE/);
    const named = policy({ bindHost: 'Inside.example' });
    expect(verdict(() => named.checkBound(named.toBind('tcp://broker.example:5010'), '10.1.1.1'))).toBe('allowed');
  });

  it('has a port of CMBS_PORT_RANGE or one of the original', () => {
    const rules = onLoopback({
      ports: [
        [7000, 7001],
        [7010, 7010],
      ],
    });
    for (const port of [7000, 7001, 7010, 5010, 5020, 5031, 5032, 5040]) {
      expect(bound(rules, `tcp://127.0.0.1:${port}`)).toBe('allowed');
    }
    for (const port of [22, 6999, 7002, 7009, 7011, 5011, 65535]) {
      expect(bound(rules, `tcp://127.0.0.1:${port}`)).toMatch(/^forbidden: .*set CMBS_PORT_RANGE/);
    }
  });

  it('over ipc needs CMBS_IPC_DIR, and is in that directory', () => {
    for (const ask of [bound, dialled]) {
      expect(ask(policy(), 'ipc://alice')).toMatch(/^forbidden: .*set CMBS_IPC_DIR/);
      expect(ask(onLoopback(), 'ipc://alice')).toMatch(/^forbidden: .*set CMBS_IPC_DIR/);
    }
    const rules = policy({ ipcDirectory: '/run/cmbs' });
    expect(rules.toBind('ipc://alice')).toMatchObject({ text: 'ipc://alice', path: '/run/cmbs/alice' });
    expect(rules.toDial('ipc://alice')).toMatchObject({ path: '/run/cmbs/alice' });
    expect(bound(rules, 'ipc:///run/cmbs/alice')).toMatch(/^bad_attribute/);
    expect(bound(policy({ ipcDirectory: `/${'d'.repeat(90)}` }), `ipc://${'n'.repeat(20)}`)).toMatch(
      /^forbidden: .*shorter name or CMBS_IPC_DIR/,
    );
  });
});

describe('the rules of a deployment', () => {
  const local = (env: Record<string, string>): AddressPolicy =>
    localAddresses(readConfig({ CMBS_OPEN_TO_EVERYONE: 'yes', ...env }));
  const isOpen = (rules: AddressPolicy): boolean => dialled(rules, 'tcp://127.0.0.1:9') === 'allowed';

  it.each([
    ['by default', {}, true],
    ['on ::1', { CMBS_HOST: '::1' }, true],
    ['with a loopback URL', { CMBS_PUBLIC_URL: 'http://[::1]:8090' }, true],
    ['with another URL', { CMBS_PUBLIC_URL: 'https://broker.example' }, false],
    ['behind a proxy', { CMBS_TRUST_PROXY: 'true' }, false],
    ['on every interface', { CMBS_HOST: '0.0.0.0', CMBS_PUBLIC_URL: 'http://localhost:8090' }, false],
  ] as const)('%s: on loopback or not', (_how, env, expected) => {
    expect(isOpen(local(env))).toBe(expected);
  });

  it('take hosts from the public URL and CMBS_BIND_HOST', () => {
    const rules = local({ CMBS_HOST: '192.168.1.5', CMBS_PUBLIC_URL: 'https://Broker.example/base' });
    expect(bound(rules, 'tcp://broker.example:5010')).toBe('allowed');
    expect(bound(rules, 'tcp://192.168.1.5:5010')).toMatch(/^forbidden/);
    expect(local({ CMBS_BIND_HOST: '0.0.0.0' }).toBind('tcp://10.0.0.1:5010').text).toBe('tcp://0.0.0.0:5010');
    expect(bound(local({ CMBS_PUBLIC_URL: 'http://[::1]:80' }), 'tcp://[::1]:5010')).toBe('allowed');
  });

  const PARTS = { FIRESTORE_EMULATOR_HOST: 'a:1', PUBSUB_EMULATOR_HOST: 'a:2' };
  it.each([
    ['on the emulators of a laptop', { ...PARTS, CMBS_PUBLIC_URL: 'http://127.0.0.1:8090' }, true],
    ['on emulators that others reach', { ...PARTS, CMBS_PUBLIC_URL: 'http://broker.example' }, false],
    ['in the cloud', { GOOGLE_CLOUD_PROJECT: 'project', CMBS_PUBLIC_URL: 'http://127.0.0.1:8090' }, false],
  ] as const)('%s: on loopback or not', (_how, env, expected) => {
    expect(isOpen(cloudAddresses(readCloudConfig({ CMBS_OPEN_TO_EVERYONE: 'yes', ...env })))).toBe(expected);
  });

  it('in the cloud take the host of the companion’s own shard', () => {
    const env = {
      GOOGLE_CLOUD_PROJECT: 'project',
      CMBS_PUBLIC_URL: 'https://broker.example',
      CMBS_SHARDS: 'main=203.0.113.1,eu=203.0.113.2',
      CMBS_SHARD: 'eu',
      CMBS_OPEN_TO_EVERYONE: 'yes',
    };
    const rules = cloudAddresses(readCloudConfig(env));
    expect(bound(rules, 'tcp://203.0.113.2:5010')).toBe('allowed');
    expect(bound(rules, 'tcp://203.0.113.1:5010')).toMatch(/^forbidden/);
    const deployed = cloudAddresses(
      readCloudConfig({ ...env, CMBS_BIND_HOST: '0.0.0.0', CMBS_PORT_RANGE: '5010-5040' }),
    );
    expect(deployed.toBind('tcp://203.0.113.2:5011').text).toBe('tcp://0.0.0.0:5011');
    expect(bound(deployed, 'tcp://203.0.113.2:5041')).toMatch(/^forbidden/);
  });
});
