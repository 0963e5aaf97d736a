/**
 * A stack with very many entities and inbox entries against a stack with few: no operation may read more of a store than
 * it needs. Runs only when it is named, since filling the store takes minutes (`npm run bench -- million`; with
 * `--size=N`, N entities and N inbox entries).
 */
import { silentCounters, silentLog } from '@cmbs/shared';
import { SocketContext } from '../../companion/exchanges/zeromq/options';
import { Requester } from '../../companion/exchanges/zeromq/requester';
import { fill } from './fill';
import { askOnce, loadHttp, requestText } from './http-load';
import { frames, listeningMember, messageEntity, type Listening } from './messages';
import { freePort, Product, type EnvironmentVariables } from './programs';
import { atMost, compared, inTurn, type Row } from './rounds';

const FEW = 1000;
export const MANY = 1_000_000;
const ROUNDS = 7;
const ROUND_MS = 300;
const CONNECTIONS = 16;
/** Messages that arrive in a round; as many are acknowledged, so that an inbox keeps its size. */
const ARRIVALS = 512;
const IN_FLIGHT = 128;
const PAGE = 64;
/** Milliseconds for a receipt: the first one after a start measures the inbox. */
const RECEIPT_MS = 60_000;
const MICROS = 1e6;
const AIM = atMost(1.3);
const TYPE = 'application/json';
/** Inboxes larger than the defaults allow. */
const SETTINGS: EnvironmentVariables = { CMBS_INBOX_LIMIT: '10000000', CMBS_INBOX_BYTES: String(1024 ** 4) };

/** What a round with the inbox measures, in microseconds for each message. */
type InboxStep = 'receive' | 'read' | 'acknowledge';

/** A stack with filled data. */
class Filled {
  readonly name: string;
  readonly #listening: Listening;
  readonly #sample: readonly string[];
  readonly #context = new SocketContext();
  #product: Product;
  #next = 0;

  private constructor(name: string, product: Product, listening: Listening, sample: readonly string[]) {
    this.name = name;
    this.#product = product;
    this.#listening = listening;
    this.#sample = sample;
  }

  static async create(count: number): Promise<Filled> {
    const empty = await Product.start({ settings: SETTINGS });
    const { directory } = empty;
    const listening = await listeningMember(empty, await freePort());
    await empty.stop();
    const memberId = listening.path.slice(listening.path.lastIndexOf('/') + 1);
    const sample = await fill(directory, memberId, count);
    const product = await Product.start({ settings: SETTINGS, directory });
    return new Filled(count.toLocaleString('en'), product, listening, sample);
  }

  /** Microseconds for each of many requests. */
  async #http(request: () => string): Promise<number> {
    const { perSecond } = await loadHttp({
      port: this.#product.port,
      connections: CONNECTIONS,
      ms: ROUND_MS,
      request,
    });
    return MICROS / perSecond;
  }

  /** Entities from the whole store in turn. */
  get(): Promise<number> {
    return this.#http(() => {
      const id = this.#sample[(this.#next = (this.#next + 1) % this.#sample.length)] as string;
      return requestText('GET', `/cmbs/message/${id}`, { Accept: TYPE });
    });
  }

  post(): Promise<number> {
    const body = JSON.stringify(messageEntity('tcp://127.0.0.1:2', 'true'));
    const post = requestText('POST', '/cmbs/message/', { Accept: TYPE, 'Content-Type': TYPE }, body);
    return this.#http(() => post);
  }

  page(): Promise<number> {
    const term = 'attribute=cmbs.message.l1_socket_receiver_member&value=tcp://127.0.0.1:1';
    return this.#http(() => requestText('GET', `/cmbs/message/?${term}&number=20`, { Accept: TYPE }));
  }

  async inbox(step: InboxStep): Promise<number> {
    const receive = await this.#receive();
    const { read, acknowledge } = await this.#drain();
    const taken = { receive, read, acknowledge };
    return (taken[step] * 1000) / ARRIVALS;
  }

  async #receive(): Promise<number> {
    const requester = this.#requester();
    try {
      const frame = frames(this.#listening.socket, 'true');
      let left = ARRIVALS;
      const one = async (): Promise<void> => {
        while (left-- > 0) await sent(requester, frame());
      };
      await sent(requester, frame()); // the connection is up
      const started = performance.now();
      await Promise.all(Array.from({ length: IN_FLIGHT }, one));
      return performance.now() - started;
    } finally {
      await requester.close();
    }
  }

  async #drain(): Promise<{ readonly read: number; readonly acknowledge: number }> {
    const inbox = `${this.#listening.path}/inbox/`;
    const url = `http://127.0.0.1:${this.#product.port}${inbox}?number=${PAGE}`;
    let [read, acknowledge] = [0, 0];
    for (let got = 0; got < ARRIVALS; got += PAGE) {
      const started = performance.now();
      // A long answer comes in chunks.
      const answer = await fetch(url, { headers: { Accept: TYPE } });
      const page = (await answer.json()) as { readonly entries: readonly { id: string; lease: string }[] };
      const leased = performance.now();
      if (page.entries.length !== PAGE) throw new Error(`a page of ${page.entries.length} inbox entries`);
      const body = JSON.stringify({ entries: page.entries.map(({ id, lease }) => ({ id, lease })) });
      const headers = { Accept: TYPE, 'Content-Type': TYPE };
      await askOnce(this.#product.port, requestText('DELETE', inbox, headers, body));
      read += leased - started;
      acknowledge += performance.now() - leased;
    }
    return { read, acknowledge };
  }

  /** Milliseconds from the start to the first answer, and then to the first receipt. */
  async restart(): Promise<{ readonly answer: number; readonly receipt: number }> {
    await this.#product.stop();
    const started = performance.now();
    this.#product = await Product.start({ settings: SETTINGS, directory: this.#product.directory });
    await askOnce(this.#product.port, requestText('GET', '/-/'));
    const answered = performance.now();
    const requester = this.#requester();
    try {
      await sent(requester, frames(this.#listening.socket, 'true')());
      return { answer: answered - started, receipt: performance.now() - answered };
    } finally {
      await requester.close();
    }
  }

  #requester(): Requester {
    return new Requester(this.#listening.socket, {
      context: this.#context,
      log: silentLog,
      counters: silentCounters,
    });
  }

  async close(): Promise<void> {
    this.#context.close();
    await this.#product.close();
  }
}

async function sent(requester: Requester, frame: string): Promise<void> {
  const reply = await requester.request(frame, { timeoutMs: RECEIPT_MS });
  if (reply.includes('"error"')) throw new Error(reply.toString());
}

interface Measurement {
  readonly what: string;
  readonly unit: 'µs' | 'ms';
  readonly run: (stack: Filled) => Promise<number>;
}

const MEASUREMENTS: readonly Measurement[] = [
  { what: 'GET an entity', unit: 'µs', run: (stack) => stack.get() },
  { what: 'POST an entity', unit: 'µs', run: (stack) => stack.post() },
  { what: 'a page of 20, one term', unit: 'µs', run: (stack) => stack.page() },
  { what: 'durable receipt on L1', unit: 'µs', run: (stack) => stack.inbox('receive') },
  { what: 'inbox: read an entry', unit: 'µs', run: (stack) => stack.inbox('read') },
  { what: 'inbox: acknowledge an entry', unit: 'µs', run: (stack) => stack.inbox('acknowledge') },
  { what: 'start to the first answer', unit: 'ms', run: async (stack) => (await stack.restart()).answer },
  { what: 'first receipt after a start', unit: 'ms', run: async (stack) => (await stack.restart()).receipt },
];

export async function millionCase(size = MANY): Promise<readonly Row[]> {
  const stacks: Filled[] = [];
  try {
    const few = await Filled.create(FEW);
    stacks.push(few);
    const many = await Filled.create(size);
    stacks.push(many);
    const rows: Row[] = [];
    for (const { what, unit, run } of MEASUREMENTS) {
      const figures = await inTurn(
        [many, few].map((stack) => ({ name: stack.name, run: () => run(stack) })),
        ROUNDS,
      );
      const common = { unit, ours: many.name, against: few.name, aim: AIM };
      rows.push(compared(figures, { ...common, what: `${what}, of ${many.name}` }));
    }
    return rows;
  } finally {
    for (const stack of stacks) await stack.close();
  }
}
