/** The contract of `Exchange`, for every exchange. It runs in real time, with the exchange on both sides. */
import { CmbsError, systemClock } from '@cmbs/shared';
import { MAX_FRAME_BYTES } from '@cmbs/shared/limits';
import {
  type BroadcastConnection,
  type ConnectionState,
  type Exchange,
  type ExchangeDefinition,
  type FrameListener,
  type FrameReplier,
  type MemberSocket,
  type OpenSocket,
  PeerError,
  type RequestConnection,
  schemesOf,
} from '@cmbs/companion';
import { RecordedCounters, RecordedLog } from '../recorded';
import { becomes, deferred, next, within } from '../waits';

export interface ContractedExchange {
  readonly definition: ExchangeDefinition;
  /** An unused address in its canonical spelling, at which no member listens. */
  address(): Promise<string>;
  /** The same address, spelled in another way. */
  respelled(address: string): string;
  /** A malformed address with a scheme of the exchange. */
  readonly malformed: string;
  close(): Promise<void>;
}

export interface ExchangeTraits {
  /** Addresses that the rules of the exchange refuse, where it has rules. */
  readonly forbidden?: { readonly serve: string; readonly connect: string };
}

/** Requests or broadcasts: more than any exchange accepts at once. */
const FLOOD = 5000;
const NOBODY_WAITS_SO_LONG_MS = 600_000;

const at = (address: string): MemberSocket => ({ member: '/cmbs/member/bob', layer: 'l1', address });
const echo: FrameReplier = async (frame) => `re: ${String(frame)}`;

function reaches(connection: RequestConnection | BroadcastConnection, wanted: ConnectionState): Promise<void> {
  if (connection.state === wanted) return Promise.resolve();
  return next(
    (listener) => connection.onState(listener),
    (state) => state === wanted,
    `the connection is ${wanted}`,
  );
}

function isSubscribed(connection: BroadcastConnection, wanted = true): Promise<void> {
  if (connection.subscribed === wanted) return Promise.resolve();
  return next(
    (listener) => connection.onSubscription(listener),
    (subscribed) => subscribed === wanted,
    `subscribed is ${wanted}`,
  );
}

/** Rejects when `connect` throws. */
const connecting = async (connect: (address: string) => unknown, address: string): Promise<unknown> =>
  connect(address);

async function failure(promise: Promise<unknown>): Promise<unknown> {
  const [outcome] = await Promise.allSettled([within(promise, 'an outcome')]);
  if (outcome.status === 'fulfilled') throw new Error('it did not fail');
  return outcome.reason;
}

export function exchangeContract(
  name: string,
  open: () => Promise<ContractedExchange>,
  { forbidden }: ExchangeTraits = {},
): void {
  describe(`the exchange contract, ${name}`, () => {
    let contracted: ContractedExchange;
    let exchange: Exchange;
    let log: RecordedLog;
    /** Lines that a test may log as errors. */
    let expectedErrors: number;
    /** Resources of a test, closed in reverse order after the test. */
    let opened: { close(): Promise<void> }[];

    beforeEach(async () => {
      contracted = await open();
      log = new RecordedLog();
      expectedErrors = 0;
      opened = [];
      exchange = contracted.definition.open({ log, counters: new RecordedCounters(), clock: systemClock });
    });
    afterEach(async () => {
      for (const one of opened.reverse()) await one.close();
      exchange.close();
      await contracted.close();
      expect(log.errors).toHaveLength(expectedErrors);
    });

    const kept = <T extends { close(): Promise<void> }>(one: T): T => {
      opened.push(one);
      return one;
    };
    const serveRequests = async (address: string, reply: FrameReplier): Promise<OpenSocket> =>
      kept(await exchange.serveRequests(at(address), reply));
    const serveBroadcasts = async (address: string, listen: FrameListener): Promise<OpenSocket> =>
      kept(await exchange.serveBroadcasts(at(address), listen));
    const requests = (address: string): RequestConnection => kept(exchange.connectForRequests(address));
    const broadcasts = (address: string): BroadcastConnection => kept(exchange.connectForBroadcasts(address));

    /** Sends the bodies in order and repeats refused ones. */
    const broadcastAll = async (connection: BroadcastConnection, bodies: readonly string[]): Promise<void> => {
      for (const body of bodies) {
        for (;;) {
          const writable = deferred();
          const stop = connection.onWritable(() => writable.resolve());
          try {
            if (await connection.send(body)) break;
            await within(writable.promise, 'the connection takes more');
          } finally {
            stop();
          }
        }
      }
    };

    describe('an address', () => {
      it('keeps its canonical spelling, to which other spellings are converted', async () => {
        const address = await contracted.address();
        const schemes = schemesOf([contracted.definition]);
        expect(schemes.parse(address).text).toBe(address);
        expect(contracted.respelled(address)).not.toBe(address);
        expect(schemes.parse(contracted.respelled(address)).text).toBe(address);
      });

      it('reaches the member with any spelling on either side', async () => {
        const address = await contracted.address();
        await serveRequests(contracted.respelled(address), echo);
        expect(String(await requests(address).request('a'))).toBe('re: a');
        expect(String(await requests(contracted.respelled(address)).request('b'))).toBe('re: b');
      });

      it('appears in errors in its canonical spelling', async () => {
        const address = await contracted.address();
        const error = await failure(requests(contracted.respelled(address)).request('a'));
        expect(error).toMatchObject({ address });
        expect((error as Error).message).toContain(address);
      });

      it('is refused as bad_attribute when it is malformed', async () => {
        const { malformed } = contracted;
        const refused = { code: 'bad_attribute' };
        expect(await failure(serveRequests(malformed, echo))).toMatchObject(refused);
        expect(await failure(serveBroadcasts(malformed, async () => undefined))).toMatchObject(refused);
        expect(await failure(connecting(requests, malformed))).toMatchObject(refused);
        expect(await failure(connecting(broadcasts, malformed))).toMatchObject(refused);
      });

      if (forbidden !== undefined) {
        it('is forbidden when the rules of the exchange refuse it', async () => {
          const refused = { code: 'forbidden' };
          expect(await failure(serveRequests(forbidden.serve, echo))).toMatchObject(refused);
          expect(await failure(serveBroadcasts(forbidden.serve, async () => undefined))).toMatchObject(refused);
          expect(await failure(connecting(requests, forbidden.connect))).toMatchObject(refused);
          expect(await failure(connecting(broadcasts, forbidden.connect))).toMatchObject(refused);
        });
      }

      it('is a conflict with a reason when it is in use, and its member keeps working', async () => {
        const [first, second] = [await contracted.address(), await contracted.address()];
        const heard: string[] = [];
        await serveRequests(first, echo);
        await serveBroadcasts(second, async (frame) => void heard.push(String(frame)));
        for (const address of [first, second]) {
          const taken = { code: 'conflict', details: { address, reason: 'address in use' } };
          expect(await failure(serveRequests(address, echo))).toMatchObject(taken);
          const error = await failure(serveBroadcasts(address, async () => undefined));
          expect(error).toMatchObject(taken);
          expect((error as CmbsError).message).toContain('address in use');
        }
        expect(String(await requests(first).request('a'))).toBe('re: a');
        const connection = broadcasts(second);
        await isSubscribed(connection);
        await broadcastAll(connection, ['b']);
        await becomes(() => heard.length === 1, 'the broadcast arrives');
      });

      it('is free each time its socket closes, even with connected peers', async () => {
        const address = await contracted.address();
        const connection = requests(address);
        for (let time = 0; time < 5; time += 1) {
          const socket = await serveRequests(address, async () => String(time));
          await becomes(() => connection.connectNow() === 'up', 'the peer is found');
          expect(String(await connection.request('a'))).toBe(String(time));
          await Promise.all([socket.close(), socket.close()]);
          await (await serveBroadcasts(address, async () => undefined)).close();
        }
      });
    });

    describe('a request', () => {
      it('arrives unchanged, and its reply comes back', async () => {
        const address = await contracted.address();
        const frames: Buffer[] = [];
        await serveRequests(address, async (frame) => {
          frames.push(Buffer.from(frame));
          return `${frame.length} bytes: ü 😀 \u0000`;
        });
        const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
        const bodies = [bytes, 'ü 😀 \u0000', '', Buffer.alloc(0), Buffer.alloc(MAX_FRAME_BYTES, 'x')];
        const connection = requests(address);
        for (const body of bodies) {
          const reply = await connection.request(body);
          expect(reply.toString()).toBe(`${Buffer.byteLength(body)} bytes: ü 😀 \u0000`);
        }
        expect(frames.map((frame) => frame.toString('base64'))).toEqual(
          bodies.map((body) => Buffer.from(body).toString('base64')),
        );
      });

      it('does not change the bytes of its caller when the member changes the frame', async () => {
        const address = await contracted.address();
        await serveRequests(address, async (frame) => {
          frame.fill(0);
          return '';
        });
        const body = Buffer.from('mine');
        await requests(address).request(body);
        expect(String(body)).toBe('mine');
      });

      it('gets its own reply among many in flight, in whatever order the replies come', async () => {
        const address = await contracted.address();
        const replies: (() => void)[] = [];
        await serveRequests(
          address,
          (frame) =>
            new Promise((resolve) => {
              replies.push(() => resolve(`re: ${String(frame)}`));
              if (replies.length === 100) for (const reply of replies.reverse()) reply();
            }),
        );
        const connection = requests(address);
        const bodies = Array.from({ length: 100 }, (_, index) => `request ${index}`);
        const received = await Promise.all(bodies.map((body) => connection.request(body)));
        expect(received.map(String)).toEqual(bodies.map((body) => `re: ${body}`));
      });

      it('goes to the member at its address, over its own connection', async () => {
        const addresses = [await contracted.address(), await contracted.address()];
        for (const address of addresses) await serveRequests(address, async () => address);
        const connections = [...addresses, ...addresses].map((address) => requests(address));
        const replies = await Promise.all(connections.map((connection) => connection.request('who')));
        expect(replies.map(String)).toEqual([...addresses, ...addresses]);
      });

      it('fails as not sent, long before its time-out, when no member listens at the address', async () => {
        const address = await contracted.address();
        const connection = requests(address);
        for (let time = 0; time < 2; time += 1) {
          const error = await failure(connection.request('a', { timeoutMs: NOBODY_WAITS_SO_LONG_MS }));
          expect(error).toBeInstanceOf(PeerError);
          expect(error).toMatchObject({ name: 'PeerError', reason: 'no_listener', sent: false });
          expect(connection.state).toBe('down');
        }
      });

      it('fails as not sent when the member listens for broadcasts', async () => {
        const address = await contracted.address();
        const heard: Buffer[] = [];
        await serveBroadcasts(address, async (frame) => void heard.push(frame));
        const connection = requests(address);
        expect(await failure(connection.request('a'))).toMatchObject({ reason: 'no_listener', sent: false });
        expect(connection.state).not.toBe('up');
        expect(heard).toEqual([]);
      });

      it('fails as sent without a reply in time; the late reply is ignored, and the next request is answered', async () => {
        const address = await contracted.address();
        const late = deferred();
        await serveRequests(address, async (frame) => {
          if (String(frame) === 'slow') await late.promise;
          return `re: ${String(frame)}`;
        });
        const connection = requests(address);
        await reaches(connection, 'up');
        expect(await failure(connection.request('slow', { timeoutMs: 100 }))).toMatchObject({
          reason: 'timeout',
          sent: true,
        });
        const second = connection.request('next');
        late.resolve();
        expect(String(await second)).toBe('re: next');
        expect(String(await connection.request('last'))).toBe('re: last');
      });

      it('fails at once when its caller aborts it, before it is sent or in flight', async () => {
        const address = await contracted.address();
        const arrived = deferred();
        const answer = deferred<string>();
        const frames: string[] = [];
        await serveRequests(address, (frame) => {
          frames.push(String(frame));
          arrived.resolve();
          return answer.promise;
        });
        const connection = requests(address);
        const before = await failure(connection.request('never', { signal: AbortSignal.abort() }));
        expect(before).toMatchObject({ reason: 'aborted', sent: false });
        const caller = new AbortController();
        const inFlight = failure(connection.request('a', { signal: caller.signal }));
        await within(arrived.promise, 'the request arrives');
        caller.abort();
        expect(await inFlight).toMatchObject({ reason: 'aborted', sent: true });
        answer.resolve('too late');
        expect(frames).toEqual(['a']);
      });

      it('never reaches the member when it exceeds the size of a frame, and is refused as too_large when it is much larger', async () => {
        const address = await contracted.address();
        const sizes: number[] = [];
        await serveRequests(address, async (frame) => {
          sizes.push(frame.length);
          return 'fine';
        });
        const connection = requests(address);
        const huge = 16 * MAX_FRAME_BYTES;
        expect(await failure(connection.request(Buffer.alloc(huge)))).toMatchObject({ code: 'too_large' });
        expect(await failure(connection.request('ü'.repeat(huge / 2)))).toMatchObject({ code: 'too_large' });
        const [answered] = await Promise.allSettled([connection.request(Buffer.alloc(MAX_FRAME_BYTES + 1))]);
        // Either the sender refuses the frame, or the exchange of the member answers with an error.
        if (answered.status === 'rejected') expect(answered.reason).toMatchObject({ code: 'too_large' });
        else expect(String(answered.value)).toContain('too_large');
        expect(String(await connection.request('a'))).toBe('fine');
        expect(sizes).toEqual([1]);
      });

      it('is refused as queue_full beyond a limit; accepted requests are answered, and requests that fail unsent never arrive', async () => {
        const address = await contracted.address();
        const seen = new Set<string>();
        const release = deferred();
        await serveRequests(address, async (frame) => {
          seen.add(String(frame));
          await release.promise;
          return String(frame);
        });
        const connection = requests(address);
        await reaches(connection, 'up');
        const callers: AbortController[] = [];
        const taken: Promise<Buffer>[] = [];
        const aborted: Promise<unknown>[] = [];
        let refusal: unknown;
        const isFull = (): boolean => refusal !== undefined;
        for (let sent = 0; sent < FLOOD && !isFull(); sent += 1) {
          const isAborted = sent % 2 === 1;
          const caller = new AbortController();
          const request = connection.request(String(sent), {
            timeoutMs: NOBODY_WAITS_SO_LONG_MS,
            ...(isAborted ? { signal: caller.signal } : {}),
          });
          request.catch((error: unknown) => {
            if (error instanceof CmbsError) refusal = error;
          });
          await Promise.resolve();
          await Promise.resolve();
          if (isFull()) break;
          if (isAborted) {
            callers.push(caller);
            aborted.push(failure(request));
          }
          if (!isAborted) taken.push(request);
        }
        expect(refusal).toMatchObject({ code: 'queue_full', headers: { 'Retry-After': '1' } });
        for (const caller of callers) caller.abort();
        const unsent: string[] = [];
        for (const [index, error] of (await Promise.all(aborted)).entries()) {
          expect(error).toMatchObject({ reason: 'aborted' });
          if (!(error as PeerError).sent) unsent.push(String(2 * index + 1));
        }
        release.resolve();
        const replies = await within(Promise.all(taken), 'the replies');
        expect(replies.map(Number)).toEqual(taken.map((_, index) => 2 * index));
        expect(unsent.filter((body) => seen.has(body))).toEqual([]);
      });

      it('fails as closed when its connection closes and afterwards', async () => {
        const address = await contracted.address();
        const arrived = deferred();
        const answer = deferred<string>();
        await serveRequests(address, () => {
          arrived.resolve();
          return answer.promise;
        });
        const connection = requests(address);
        const inFlight = failure(connection.request('a'));
        await within(arrived.promise, 'the request arrives');
        const states: ConnectionState[] = [];
        connection.onState((state) => states.push(state));
        await Promise.all([connection.close(), connection.close()]);
        expect(await inFlight).toMatchObject({ reason: 'closed', sent: true });
        expect(await failure(connection.request('b'))).toMatchObject({ reason: 'closed', sent: false });
        expect(connection.state).not.toBe('up');
        expect(connection.connectNow()).not.toBe('up');
        answer.resolve('too late');
        expect(states).toEqual([]);
      });
    });

    describe('a connection for requests', () => {
      it('is up while the member listens, and reports each change until the listener is removed', async () => {
        const address = await contracted.address();
        const connection = requests(address);
        const states: ConnectionState[] = [];
        const unheard: ConnectionState[] = [];
        connection.onState((state) => {
          expect(state).toBe(connection.state);
          states.push(state);
        });
        connection.onState((state) => unheard.push(state))();
        await reaches(connection, 'down');
        const first = await serveRequests(address, echo);
        await reaches(connection, 'up');
        await first.close();
        await reaches(connection, 'down');
        await serveRequests(address, echo);
        await reaches(connection, 'up');
        expect(String(await connection.request('a'))).toBe('re: a');
        const settled = states.filter((state) => state !== 'connecting');
        expect(settled.filter((state, index) => state !== settled[index - 1])).toEqual([
          'down',
          'up',
          'down',
          'up',
        ]);
        expect(unheard).toEqual([]);
      });

      it('finds a new member when it is told to connect now', async () => {
        const address = await contracted.address();
        const connection = requests(address);
        await reaches(connection, 'down');
        await serveRequests(address, echo);
        await becomes(() => connection.connectNow() === 'up', 'the member is found');
        expect(String(await connection.request('a'))).toBe('re: a');
      });
    });

    describe('a closing socket for requests', () => {
      it('answers the requests that it has received, and takes no others', async () => {
        const address = await contracted.address();
        const release = deferred();
        const all = deferred();
        let received = 0;
        const socket = await serveRequests(address, async (frame) => {
          if ((received += 1) === 20) all.resolve();
          await release.promise;
          return String(frame);
        });
        const connection = requests(address);
        const replies = Promise.all(Array.from({ length: 20 }, (_, index) => connection.request(String(index))));
        await within(all.promise, 'the requests arrive');
        const closed = socket.close();
        release.resolve();
        expect((await within(replies, 'the replies')).map(Number)).toEqual(
          Array.from({ length: 20 }, (_, index) => index),
        );
        await within(closed, 'the socket closes');
        expect(await failure(connection.request('late', { timeoutMs: 5000 }))).toMatchObject({
          name: 'PeerError',
        });
        expect(received).toBe(20);
      });

      it('stops waiting for a slow member, and the request is lost', async () => {
        const address = await contracted.address();
        const arrived = deferred();
        const answer = deferred<string>();
        const socket = await serveRequests(address, () => {
          arrived.resolve();
          return answer.promise;
        });
        const asked = failure(requests(address).request('a', { timeoutMs: NOBODY_WAITS_SO_LONG_MS }));
        await within(arrived.promise, 'the request arrives');
        await within(socket.close(), 'the socket closes');
        expect(await asked).toMatchObject({ reason: 'lost', sent: true });
        answer.resolve('too late');
        await (await serveRequests(address, echo)).close();
      });
    });

    describe('broadcasts', () => {
      const numbered = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));

      it('are refused until the member listens, and then arrive unchanged and in order', async () => {
        const address = await contracted.address();
        const connection = broadcasts(address);
        expect(connection.subscribed).toBe(false);
        expect(await connection.send('too early')).toBe(false);
        const frames: Buffer[] = [];
        await serveBroadcasts(address, async (frame) => void frames.push(Buffer.from(frame)));
        await isSubscribed(connection);
        const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
        const bodies = [bytes, 'ü 😀 \u0000', '', ...numbered(50), Buffer.alloc(MAX_FRAME_BYTES, 'x')];
        for (const body of bodies) expect(await connection.send(body)).toBe(true);
        await becomes(() => frames.length === bodies.length, 'all broadcasts arrive');
        expect(frames.map((frame) => frame.toString('base64'))).toEqual(
          bodies.map((body) => Buffer.from(body).toString('base64')),
        );
      });

      it('reach the handler of the member one at a time, even after the handler failed', async () => {
        expectedErrors = 1;
        const address = await contracted.address();
        const heard: string[] = [];
        let running = 0;
        let most = 0;
        await serveBroadcasts(address, async (frame) => {
          most = Math.max(most, (running += 1));
          await new Promise(setImmediate);
          running -= 1;
          heard.push(String(frame));
          if (String(frame) === '3') throw new Error('the member fails');
        });
        const connection = broadcasts(address);
        await isSubscribed(connection);
        await broadcastAll(connection, numbered(20));
        await becomes(() => heard.length === 20, 'all broadcasts arrive');
        expect(heard).toEqual(numbered(20));
        expect(most).toBe(1);
      });

      it('arrive from several connections', async () => {
        const address = await contracted.address();
        const heard: string[] = [];
        await serveBroadcasts(address, async (frame) => void heard.push(String(frame)));
        const connections = [broadcasts(address), broadcasts(address), broadcasts(address)];
        for (const [index, connection] of connections.entries()) {
          await isSubscribed(connection);
          expect(await connection.send(String(index))).toBe(true);
        }
        await becomes(() => heard.length === 3, 'all broadcasts arrive');
        expect(heard.sort()).toEqual(numbered(3));
      });

      it('never reach the member when they exceed the size of a frame, and the next one does', async () => {
        const address = await contracted.address();
        const sizes: number[] = [];
        await serveBroadcasts(address, async (frame) => void sizes.push(frame.length));
        const connection = broadcasts(address);
        await isSubscribed(connection);
        expect(await connection.send(Buffer.alloc(MAX_FRAME_BYTES + 1))).toBe(true);
        expect(await connection.send('fine')).toBe(true);
        await becomes(() => sizes.length > 0, 'the next broadcast arrives');
        expect(sizes).toEqual([4]);
      });

      it('are refused while too many wait for a slow member, and no accepted one is lost', async () => {
        const address = await contracted.address();
        const release = deferred();
        const heard: string[] = [];
        await serveBroadcasts(address, async (frame) => {
          await release.promise;
          heard.push(frame.toString().trim());
        });
        const connection = broadcasts(address);
        await isSubscribed(connection);
        const padding = ' '.repeat(64 * 1024);
        let taken = 0;
        while (
          taken < FLOOD &&
          (await within(Promise.resolve(connection.send(`${padding}${taken}`)), 'an answer'))
        )
          taken += 1;
        expect(taken).toBeLessThan(FLOOD);
        const more = numbered(100).map((number) => `more ${number}`);
        const rest = [...more];
        let isSending = false;
        let isToldMeanwhile = false;
        const sendOn = async (): Promise<void> => {
          isToldMeanwhile = true;
          if (isSending) return;
          isSending = true;
          while (isToldMeanwhile) {
            isToldMeanwhile = false;
            while (rest[0] !== undefined && (await connection.send(rest[0]))) rest.shift();
          }
          isSending = false;
        };
        // Only this listener sends again.
        connection.onWritable(() => void sendOn());
        release.resolve();
        await becomes(() => heard.length === taken + more.length, 'all broadcasts arrive');
        expect(heard).toEqual([...numbered(taken), ...more]);
      });

      it('are accepted while the subscription is up, and each change of the subscription is reported', async () => {
        const address = await contracted.address();
        const connection = broadcasts(address);
        const told: boolean[] = [];
        const unheard: boolean[] = [];
        connection.onSubscription((subscribed) => {
          expect(subscribed).toBe(connection.subscribed);
          told.push(subscribed);
        });
        connection.onSubscription((subscribed) => unheard.push(subscribed))();
        for (let time = 0; time < 2; time += 1) {
          const heard = deferred<string>();
          const socket = await serveBroadcasts(address, async (frame) => heard.resolve(String(frame)));
          await isSubscribed(connection);
          expect(connection.state).toBe('up');
          expect(await connection.send(String(time))).toBe(true);
          expect(await within(heard.promise, 'the broadcast')).toBe(String(time));
          await socket.close();
          await isSubscribed(connection, false);
          expect(await connection.send('gone')).toBe(false);
        }
        expect(told).toEqual([true, false, true, false]);
        expect(unheard).toEqual([]);
      });

      it('are refused when the member takes requests', async () => {
        const address = await contracted.address();
        const asked: Buffer[] = [];
        await serveRequests(address, async (frame) => {
          asked.push(frame);
          return '';
        });
        const other = requests(address);
        const connection = broadcasts(address);
        await reaches(other, 'up');
        await reaches(connection, 'down');
        expect(connection.subscribed).toBe(false);
        expect(await connection.send('a')).toBe(false);
        expect(asked).toEqual([]);
      });

      it('are refused by a closed connection, which reports nothing more', async () => {
        const address = await contracted.address();
        const socket = await serveBroadcasts(address, async () => undefined);
        const connection = broadcasts(address);
        await isSubscribed(connection);
        const told: unknown[] = [];
        connection.onSubscription((subscribed) => told.push(subscribed));
        connection.onState((state) => told.push(state));
        await Promise.all([connection.close(), connection.close()]);
        expect(connection.subscribed).toBe(false);
        expect(await connection.send('a')).toBe(false);
        await socket.close();
        expect(told).toEqual([]);
      });

      it('keep a closing socket open until the running handler ends, and start no other handler', async () => {
        const address = await contracted.address();
        const started = deferred();
        const release = deferred();
        let ended = 0;
        const socket = await serveBroadcasts(address, async () => {
          started.resolve();
          await release.promise;
          ended += 1;
        });
        const connection = broadcasts(address);
        await isSubscribed(connection);
        expect(await connection.send('a')).toBe(true);
        await within(started.promise, 'the broadcast arrives');
        const closed = socket.close();
        for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
        const now = new Promise((resolve) => setImmediate(() => resolve('still open')));
        expect(await Promise.race([closed.then(() => 'closed'), now])).toBe('still open');
        release.resolve();
        await within(closed, 'the socket closes');
        expect(ended).toBe(1);
        await isSubscribed(connection, false);
        expect(await connection.send('late')).toBe(false);
        expect(ended).toBe(1);
      });
    });
  });
}
