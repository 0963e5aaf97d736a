/** The bare counterparts: the smallest programs that do the same on the wire. Each runs in its own process. */
import { open, type FileHandle } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Dealer, Router, Subscriber } from 'zeromq';

/** Bytes of the file that is synced; then it is written from its start again. */
const SYNCED_BYTES = 64 * 1024 * 1024;

export interface RoleReady {
  readonly ports: readonly number[];
}

const ROLES = {
  http: bareHttp,
  router: bareRouter,
  subscribers: bareSubscribers,
  'http-to-dealer': bareHttpToDealer,
} as const;

export type RoleName = keyof typeof ROLES;
export type RoleArguments<R extends RoleName> = Parameters<(typeof ROLES)[R]>[0];

/** Runs in the child until the parent ends it. */
export async function playRole(name: string, given: string): Promise<void> {
  process.once('disconnect', () => process.exit());
  const role = ROLES[name as RoleName] as (given: unknown) => Promise<RoleReady>;
  process.send?.(await role(JSON.parse(given)));
}

interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

async function readAll(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const listening = (server: ReturnType<typeof createServer>): Promise<RoleReady> =>
  new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve({ ports: [(server.address() as AddressInfo).port] }));
  });

/** A file to which each append is one write and one `fdatasync`. */
class SyncedFile {
  readonly #handle: FileHandle;
  #at = 0;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  static async open(directory: string): Promise<SyncedFile> {
    const handle = await open(join(directory, 'synced'), 'w');
    // Allocated before, as a database's log is, so that a sync does not write the file's length.
    await handle.write(Buffer.alloc(SYNCED_BYTES));
    await handle.sync();
    return new SyncedFile(handle);
  }

  async append(bytes: Buffer): Promise<void> {
    if (this.#at + bytes.length > SYNCED_BYTES) this.#at = 0;
    const at = this.#at;
    this.#at += bytes.length;
    await this.#handle.write(bytes, 0, bytes.length, at);
    await this.#handle.datasync();
  }
}

/** Reads the body, if any, and answers with the given bytes; with `syncIn`, when the body is on the disk there. */
async function bareHttp({
  status,
  headers,
  body,
  syncIn,
}: HttpAnswer & { readonly syncIn?: string }): Promise<RoleReady> {
  const length = { 'Content-Length': Buffer.byteLength(body) };
  const file = syncIn === undefined ? undefined : await SyncedFile.open(syncIn);
  return listening(
    createServer((incoming, outgoing) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () => {
        const answer = (): void => {
          outgoing.writeHead(status, { ...headers, ...length });
          outgoing.end(body);
        };
        if (file === undefined) answer();
        else void file.append(Buffer.concat(chunks)).then(answer);
      });
    }),
  );
}

/** Answers every request with the same bytes; with `syncIn`, when the request is on the disk there. */
async function bareRouter({
  reply,
  syncIn,
}: {
  readonly reply: string;
  readonly syncIn?: string;
}): Promise<RoleReady> {
  const router = new Router({ linger: 0 });
  await router.bind('tcp://127.0.0.1:*');
  const file = syncIn === undefined ? undefined : await SyncedFile.open(syncIn);
  void (async () => {
    for (;;) {
      const [peer, id, empty, frame] = (await router.receive()) as [Buffer, Buffer, Buffer, Buffer];
      await file?.append(frame);
      await router.send([peer, id, empty, reply]);
    }
  })();
  return { ports: [Number(router.lastEndpoint?.split(':').pop())] };
}

/**
 * `n` SUB sockets, bound or connected to one PUB; sends a message each time all of them together have received
 * `total` messages.
 */
async function bareSubscribers({
  n,
  total,
  publisher,
}: {
  readonly n: number;
  readonly total: number;
  readonly publisher?: string;
}): Promise<RoleReady> {
  let received = 0;
  const ports: number[] = [];
  for (let at = 0; at < n; at++) {
    const socket = new Subscriber({ linger: 0, receiveHighWaterMark: 0 });
    socket.subscribe();
    if (publisher === undefined) {
      await socket.bind('tcp://127.0.0.1:*');
      ports.push(Number(socket.lastEndpoint?.split(':').pop()));
    } else socket.connect(publisher);
    void (async () => {
      for (;;) {
        await socket.receive();
        received += 1;
        if (received % total === 0) process.send?.(received);
      }
    })();
  }
  return { ports };
}

/** HTTP in, one frame to a ROUTER, its reply out: the necessary steps of a send over L1. */
function bareHttpToDealer({
  router,
  frame,
}: {
  readonly router: number;
  readonly frame: string;
}): Promise<RoleReady> {
  const dealer = new Dealer({ linger: 0 });
  dealer.connect(`tcp://127.0.0.1:${router}`);
  const waiting = new Map<number, (reply: Buffer) => void>();
  let last = 0;
  void (async () => {
    for (;;) {
      const [id, , reply] = (await dealer.receive()) as [Buffer, Buffer, Buffer];
      const key = id.readUInt32BE();
      waiting.get(key)?.(reply);
      waiting.delete(key);
    }
  })();
  return listening(
    createServer((incoming, outgoing) => {
      void readAll(incoming).then(async () => {
        const id = Buffer.allocUnsafe(4);
        id.writeUInt32BE((last += 1));
        const reply = await new Promise<Buffer>((resolve, reject) => {
          waiting.set(last, resolve);
          dealer.send([id, '', frame]).catch(reject);
        });
        outgoing.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': reply.length });
        outgoing.end(reply);
      });
    }),
  );
}
