/** Addresses of members: defaults, refusals, and addresses that two members share. */
import type { JsonObject } from '@cmbs/shared';
import { freePort } from '../integration/sockets-support';
import { Deployment, MEMBER, unique, type Answer, type LayerName } from './harness';

const LAYERS: readonly LayerName[] = ['l1', 'l2', 'l31', 'l32', 'l4'];
const ORIGINAL: Readonly<Record<LayerName, number>> = { l1: 5010, l2: 5020, l31: 5031, l32: 5032, l4: 5040 };

let here: Deployment;
let ports: number[];
beforeEach(async () => {
  ports = [];
  while (ports.length < 12) ports.push(await freePort());
  ports.sort((one, other) => one - other);
  // The range includes the usual ports of the layers. Those are for members without an address on that layer.
  const range = [...Object.values(ORIGINAL), ...ports];
  here = await Deployment.start({ env: { CMBS_PORT_RANGE: range.join(',') } });
});
afterEach(() => here.close());

const put = (path: string, attributes: JsonObject = {}): Promise<Answer> =>
  here.request('PUT', path, { kind: MEMBER, attributes });
const socketsOf = ({ attributes }: Answer): JsonObject =>
  Object.fromEntries(LAYERS.map((layer) => [layer, attributes[`cmbs.member.${layer}_socket`] ?? null]));
const at = (port: number | undefined): string => `tcp://127.0.0.1:${port}`;
const originals = Object.fromEntries(LAYERS.map((layer) => [layer, at(ORIGINAL[layer])]));
const allotted = (from: number): JsonObject =>
  Object.fromEntries(LAYERS.map((layer, index) => [layer, at(ports[from + index])]));

test('the first member without addresses gets the original ports, later members the lowest of the range', async () => {
  expect(socketsOf(await put('/cmbs/member/alice'))).toEqual(originals);
  expect(socketsOf(await put('/cmbs/member/bob'))).toEqual(allotted(0));
  expect(socketsOf(await put('/cmbs/member/carol'))).toEqual(allotted(5));
});

test('a member keeps its ports when it is replaced, created again or restarted, and frees them when it is deleted', async () => {
  await put('/cmbs/member/alice');
  await put('/cmbs/member/bob');
  await put('/cmbs/member/carol');
  for (const [name, sockets] of [
    ['alice', originals],
    ['bob', allotted(0)],
    ['carol', allotted(5)],
  ] as const) {
    const again = await put(`/cmbs/member/${name}`, { 'cmbs.member.topics': ['a.b'] });
    expect(again.status).toBe(200);
    expect(socketsOf(again)).toEqual(sockets);
  }
  await here.down();
  await here.up();
  await here.must(200, here.request('DELETE', '/cmbs/member/bob'));
  expect(socketsOf(await put('/cmbs/member/carol'))).toEqual(allotted(5));
  expect(socketsOf(await put('/cmbs/member/dave'))).toEqual(allotted(0));
});

test('ports that other members name are not allotted, and a member keeps the addresses that it names', async () => {
  await put('/cmbs/member/named', { 'cmbs.member.l2_socket': at(ports[1]), 'cmbs.member.l1_socket': at(5031) });
  const named = await here.get('/cmbs/member/named');
  expect(socketsOf(named)).toMatchObject({ l2: at(ports[1]), l1: at(5031), l31: at(ports[0]), l32: at(5032) });
  const all = await Promise.all(['a', 'b'].map(() => put(`/cmbs/member/${unique('m')}`)));
  const addresses = [named, ...all].flatMap((answer) => Object.values(socketsOf(answer)));
  expect(new Set(addresses).size).toBe(15);
});

test('the usual port of a layer is kept for that layer, even while it is free', async () => {
  await put('/cmbs/member/alice', { 'cmbs.member.l1_socket': at(ports[10]) });
  await put('/cmbs/member/bob', { 'cmbs.member.l1_socket': at(ports[11]) });
  expect(socketsOf(await here.get('/cmbs/member/bob'))).toEqual({
    ...Object.fromEntries(LAYERS.slice(1).map((layer, index) => [layer, at(ports[index])])),
    l1: at(ports[11]),
  });
  expect(socketsOf(await put('/cmbs/member/carol'))).toMatchObject({ l1: at(ORIGINAL.l1) });
});

test('members of one request, and of concurrent requests, never share a port', async () => {
  const created = await here.request('POST', '/cmbs/member/', {
    resources: ['x', 'y'].map((id) => ({ id, kind: MEMBER, attributes: {} })),
  });
  expect(created.status).toBe(201);
  const two = [await here.get('/cmbs/member/x'), await here.get('/cmbs/member/y')];
  const names = ['p', 'q', 'r', 's'];
  const answers = await Promise.all(names.map((id) => put(`/cmbs/member/${id}`)));
  const made = [...two, ...answers.filter(({ status }) => status === 201)];
  const addresses = made.flatMap((answer) => Object.values(socketsOf(answer)));
  expect(new Set(addresses).size).toBe(addresses.length);
  // Three members use up 17 ports; the fourth is refused with a sentence that says what to do.
  expect(made).toHaveLength(3);
  const refused = answers.filter(({ status }) => status === 409);
  expect(refused).toHaveLength(3);
  expect(refused[0]?.error).toContain('CMBS_PORT_RANGE');
});

test('a remote member gets no address', async () => {
  const remote = await put('/cmbs/member/remote', { 'cmbs.member.local': 'false' });
  expect(socketsOf(remote)).toEqual({ l1: null, l2: null, l31: null, l32: null, l4: null });
});

test('an address is checked when it is written', async () => {
  for (const [attribute, value] of [
    ['cmbs.member.l1_socket', 'nonsense'],
    ['cmbs.member.l2_socket', 'tcp://127.0.0.1:70000'],
    ['cmbs.member.l4_socket', 'carrier-pigeon://127.0.0.1:1'],
    ['cmbs.member.neighbors_socket', ['tcp://127.0.0.1']],
  ] as const) {
    const refused = await put('/cmbs/member/wrong', { [attribute]: value });
    expect([attribute, refused.status]).toEqual([attribute, 400]);
  }
  expect((await here.get('/cmbs/member/wrong')).status).toBe(404);
});

test('creating a second member with an address reports the first one', async () => {
  await put('/cmbs/member/first', { 'cmbs.member.l31_socket': at(ports[0]) });
  const second = await put('/cmbs/member/second', { 'cmbs.member.l1_socket': at(ports[0]) });
  expect(second.status).toBe(201);
  expect(second.headers.get('x-occi-reason')).toBe(
    `/cmbs/member/first has the address ${at(ports[0])}, too: only one of the two can be reached there.`,
  );
  // Nothing changed, so there is no report.
  const again = await put('/cmbs/member/second', { 'cmbs.member.l1_socket': at(ports[0]) });
  expect([again.status, again.headers.get('x-occi-reason')]).toEqual([200, null]);
});

describe('the path of a member', () => {
  test.each(['/other/place/bob', '/cmbs/member/deep/bob', '/bob'])('is not %s', async (path) => {
    const refused = await put(path);
    expect(refused.status).toBe(400);
    expect(refused.error).toContain('/cmbs/member/bob');
  });
});

describe('cmbs.member.start', () => {
  test('starts layers in the request that creates the member, and is not stored', async () => {
    const made = await put('/cmbs/member/alice', {
      'cmbs.member.start': ['l1', 'l3.2'],
      'cmbs.member.l1_socket': at(ports[0]),
      'cmbs.member.l32_socket': at(ports[1]),
    });
    expect(made.status).toBe(201);
    expect(made.attributes).toMatchObject({
      'cmbs.member.layers': {
        l1: { state: 'started', address: at(ports[0]) },
        l32: { state: 'started', address: at(ports[1]) },
      },
    });
    expect(made.attributes).not.toHaveProperty('cmbs.member.start');
    await here.down();
    await here.up();
    const sent = await here.send('l1', { to: at(ports[0]) });
    expect([sent.status, sent.delivery.state]).toEqual([200, 'delivered']);
  });

  test('may name a single layer, as text renderings write it', async () => {
    const headers = { 'Content-Type': 'text/plain' };
    const body = [
      'Category: member; scheme="http://houssem.org/cmbs#"; class="kind"',
      'X-OCCI-Attribute: cmbs.member.local="true"',
      'X-OCCI-Attribute: cmbs.member.start="l1"',
    ].join('\n');
    await here.must(201, here.request('PUT', '/cmbs/member/texter', body, headers));
    const { attributes } = await here.get('/cmbs/member/texter');
    expect(attributes['cmbs.member.layers']).toMatchObject({ l1: { state: 'started' } });
  });

  test('creates the member even if a layer cannot start, and "layers" says why', async () => {
    await here.must(
      201,
      put('/cmbs/member/first', { 'cmbs.member.start': ['l1'], 'cmbs.member.l1_socket': at(ports[0]) }),
    );
    const made = await put('/cmbs/member/second', {
      'cmbs.member.start': ['l1'],
      'cmbs.member.l1_socket': at(ports[0]),
    });
    expect(made.status).toBe(201);
    expect(made.attributes['cmbs.member.layers']).toMatchObject({ l1: { state: 'failed' } });
  });

  test('takes only layers, and only for a local member', async () => {
    expect((await put('/cmbs/member/a', { 'cmbs.member.start': ['l5'] })).status).toBe(400);
    const remote = { 'cmbs.member.start': ['l1'], 'cmbs.member.local': 'false' };
    expect((await put('/cmbs/member/a', remote)).status).toBe(400);
  });
});
