/** A rendering added from outside: CBOR (RFC 8949), written and read over HTTP without a change to the product. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, type Json } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import { type Rendered, type Rendering, STANDARD_RENDERINGS } from '@cmbs/shared/occi';
import { ANY_PORT } from '@cmbs/emulator/ports';
import { startStack, type Stack } from '@cmbs/emulator/stack';

const CBOR = 'application/cbor';
const COMPUTE = 'http://schemas.ogf.org/occi/infrastructure#compute';

/** A head of RFC 8949 §3: major type and argument. */
function head(major: number, argument: number): Buffer {
  const type = major << 5;
  if (argument < 24) return Buffer.from([type | argument]);
  const bytes = Buffer.alloc(5);
  bytes[0] = type | 26;
  bytes.writeUInt32BE(argument, 1);
  return bytes;
}

function encode(value: Json): Buffer {
  if (value === null) return Buffer.from([0xf6]);
  if (typeof value === 'boolean') return Buffer.from([value ? 0xf5 : 0xf4]);
  if (typeof value === 'number') {
    if (Number.isInteger(value) && value >= 0 && value < 2 ** 32) return head(0, value);
    const bytes = Buffer.alloc(9);
    bytes[0] = 0xfb;
    bytes.writeDoubleBE(value, 1);
    return bytes;
  }
  if (typeof value === 'string') return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)]);
  if (Array.isArray(value)) return Buffer.concat([head(4, value.length), ...value.map(encode)]);
  const members = Object.entries(value);
  return Buffer.concat([
    head(5, members.length),
    ...members.flatMap(([name, member]) => [encode(name), encode(member)]),
  ]);
}

function decode(bytes: Buffer): Json {
  let at = 0;
  const next = (): Json => {
    const initial = bytes.readUInt8(at++);
    const [major, short] = [initial >> 5, initial & 31];
    if (initial === 0xf6) return null;
    if (major === 7 && short < 22) return short === 21;
    if (initial === 0xfb) return bytes.readDoubleBE((at += 8) - 8);
    const argument = short < 24 ? short : bytes.readUInt32BE((at += 4) - 4);
    if (major === 0) return argument;
    if (major === 3) return bytes.subarray(at, (at += argument)).toString();
    if (major === 4) return Array.from({ length: argument }, next);
    return Object.fromEntries(Array.from({ length: argument }, () => [next() as string, next()]));
  };
  return next();
}

const json = STANDARD_RENDERINGS.find(({ mediaTypes }) => mediaTypes[0] === 'application/json')!;
const inCbor = ({ body }: Rendered): Rendered => ({
  headers: { 'Content-Type': CBOR },
  body: encode(JSON.parse(body.toString()) as Json),
});

/** The data model of GFD.226 in another encoding. */
const cbor: Rendering = {
  mediaTypes: [CBOR],
  collectionIsLocations: false,
  parse: ({ headers, body }) => json.parse({ headers, body: Buffer.from(JSON.stringify(decode(body))) }),
  entity: (...given) => inCbor(json.entity(...given)),
  collection: (...given) => inCbor(json.collection(...given)),
  created: (...given) => inCbor(json.created(...given)),
  done: () => inCbor(json.done()),
  categories: (...given) => inCbor(json.categories(...given)),
  attributes: (...given) => inCbor(json.attributes(...given)),
  error: (error) => inCbor(json.error(error)),
};

let directory: string;
let stack: Stack;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cmbs-rendering-'));
  const config = readConfig({
    PORT: '0',
    CMBS_DATA_DIR: directory,
    CMBS_EXTENSIONS: 'infrastructure',
    CMBS_MAX_BODY_BYTES: '4096',
    ...ANY_PORT,
  });
  stack = await startStack({ config, log: silentLog, renderings: [cbor] });
});
afterAll(async () => {
  await stack.close();
  await rm(directory, { recursive: true });
});

async function ask(
  path: string,
  {
    headers = {},
    ...init
  }: Omit<RequestInit, 'headers'> & { readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<{ readonly status: number; readonly value: Json }> {
  const response = await fetch(stack.url + path, { ...init, headers: { Accept: CBOR, ...headers } });
  expect(response.headers.get('content-type')).toBe(CBOR);
  expect(response.headers.get('accept')).toContain(CBOR);
  return { status: response.status, value: decode(Buffer.from(await response.arrayBuffer())) };
}

it('an added rendering reads and shows entities, collections, categories and errors', async () => {
  const entity = { kind: COMPUTE, id: 'one', title: 'ünïcode', attributes: { 'occi.compute.memory': 1.5 } };
  const created = await ask('/compute/', {
    method: 'POST',
    headers: { 'Content-Type': CBOR },
    body: new Uint8Array(encode(entity)),
  });
  expect(created).toMatchObject({ status: 201, value: [`${stack.url}/compute/one`] });

  const shown = await ask('/compute/one');
  expect(shown).toMatchObject({ status: 200, value: entity });

  const collection = await ask('/compute/');
  expect(collection).toMatchObject({ status: 200, value: { resources: [entity] } });

  const categories = (await ask('/-/')).value as { readonly kinds: readonly Json[] };
  expect(categories.kinds).toContainEqual(expect.objectContaining({ term: 'compute' }));

  const missing = await ask('/compute/other');
  expect(missing).toMatchObject({
    status: 404,
    value: { error: { message: expect.stringContaining('other') as string } },
  });
});

it('an added rendering shows errors that come before the payload is read', async () => {
  const large = await ask('/compute/', {
    method: 'POST',
    headers: { 'Content-Type': CBOR },
    body: new Uint8Array(8192),
  });
  expect(large.status).toBe(413);
});
