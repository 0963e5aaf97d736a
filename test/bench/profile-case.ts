/** Profiles of the paths that take the most time for each durable message. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentCounters, silentLog } from '@cmbs/shared';
import { SocketContext } from '../../companion/exchanges/zeromq/options';
import { Requester } from '../../companion/exchanges/zeromq/requester';
import { type Before, BEFORE_L1, BEFORE_POST, BEFORE_SEND_L1 } from './before';
import { loadHttp, requestText } from './http-load';
import { frames, listeningMember, messageEntity } from './messages';
import { freePort, Product } from './programs';
import { selfTime, type PartOfTime } from './profile';
import { throughput } from './throughput';
import { TopicTransport, WINDOW } from './topic-transport';

const LOAD_MS = 6000;
const TYPE = 'application/occi+json';

export interface Profiled {
  readonly what: string;
  readonly parts: readonly PartOfTime[];
  /** The same path before; absent where it was not measured. */
  readonly before?: Before;
}

/** Loads a product that is profiled; the profile is written when the product stops. */
async function profiled(
  what: string,
  load: (product: Product) => Promise<void>,
  before?: Before,
): Promise<Profiled> {
  const directory = await mkdtemp(join(tmpdir(), 'cmbs-profile-'));
  try {
    const product = await Product.start({ node: ['--cpu-prof', `--cpu-prof-dir=${directory}`] });
    try {
      await load(product);
    } finally {
      await product.close();
    }
    return { what, parts: await selfTime(directory), ...(before === undefined ? {} : { before }) };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function create(product: Product): Promise<void> {
  const body = JSON.stringify(messageEntity('tcp://127.0.0.1:1', 'true'));
  const post = requestText('POST', '/cmbs/message/', { Accept: TYPE, 'Content-Type': TYPE }, body);
  await loadHttp({ port: product.port, connections: 32, ms: LOAD_MS, request: () => post });
}

async function receive(product: Product): Promise<void> {
  const context = new SocketContext();
  const { socket } = await listeningMember(product, await freePort());
  const requester = new Requester(socket, { context, log: silentLog, counters: silentCounters });
  const frame = frames(socket, 'true');
  const started = performance.now();
  const one = async (): Promise<void> => {
    while (performance.now() - started < LOAD_MS) await requester.request(frame());
  };
  try {
    await Promise.all(Array.from({ length: 128 }, one));
  } finally {
    await requester.close();
    context.close();
  }
}

async function send(product: Product): Promise<void> {
  const receiver = await Product.start();
  try {
    await listeningMember(product, await freePort());
    const { socket } = await listeningMember(receiver, await freePort());
    const paths = await Promise.all(
      Array.from({ length: 16 }, () => product.create('/cmbs/message/', messageEntity(socket, 'true'))),
    );
    const requests = paths.map((path) => requestText('POST', `${path}?action=send_l1`, { Accept: TYPE }));
    const request = (at: number): string => requests[at] as string;
    await loadHttp({ port: product.port, connections: 16, ms: LOAD_MS, request });
  } finally {
    await receiver.close();
  }
}

async function forward(product: Product): Promise<void> {
  const transport = await TopicTransport.open(product);
  try {
    await throughput(WINDOW, LOAD_MS)(transport);
  } finally {
    await transport.close();
  }
}

export async function profiles(): Promise<readonly Profiled[]> {
  return [
    await profiled('POST an entity, c=32', create, BEFORE_POST),
    await profiled('L1, durable receipt, 128 in flight', receive, BEFORE_L1),
    await profiled('send_l1 by HTTP, c=16', send, BEFORE_SEND_L1),
    await profiled(`L3.2, frame to durable receipt, ${WINDOW} in flight`, forward),
  ];
}
