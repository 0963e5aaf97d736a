/**
 * Time from a start without data to the first answer, and the memory of an idle stack. Both may be a tenth more than in
 * an earlier version (commit 6331332), since every feature adds a little.
 */
import { askOnce, requestText } from './http-load';
import { Bare, Product, residentMb } from './programs';
import { atMost, compared, inTurn, median, type Row } from './rounds';

const ROUNDS = 5;
const TENTH_MORE = 1.1;
/** Times as long as node:http takes. */
const START_BEFORE = 1.2;
const IDLE_MB_BEFORE = 72;
/** Milliseconds after the first answer at which a stack counts as idle. */
const SETTLED_MS = 500;

interface Server {
  readonly port: number;
  close(): Promise<void>;
}

export async function startCase(): Promise<readonly Row[]> {
  const memory: number[] = [];
  const started = async (start: () => Promise<Server>): Promise<number> => {
    const before = performance.now();
    const server = await start();
    try {
      await askOnce(server.port, requestText('GET', '/-/'));
      const taken = performance.now() - before;
      if (server instanceof Product) {
        await new Promise((resolve) => setTimeout(resolve, SETTLED_MS));
        memory.push(await residentMb(server.child));
      }
      return taken;
    } finally {
      await server.close();
    }
  };
  const figures = await inTurn(
    [
      { name: 'cmbs', run: () => started(() => Product.start()) },
      {
        name: 'node:http',
        run: () => started(() => Bare.start('http', { status: 200, headers: {}, body: 'ok' })),
      },
    ],
    ROUNDS,
  );
  const start = compared(figures, {
    what: 'start to the first answer',
    unit: 'ms',
    ours: 'cmbs',
    against: 'node:http',
    aim: atMost(START_BEFORE * TENTH_MORE),
    limit: 'Loading zod, zeromq and SQLite, then opening the database.',
  });
  const shares = memory.map((mb) => mb / IDLE_MB_BEFORE);
  return [
    start,
    {
      what: 'memory of an idle stack',
      unit: 'MiB',
      ours: median(memory),
      against: 'before',
      other: IDLE_MB_BEFORE,
      ratio: median(shares),
      low: Math.min(...shares),
      high: Math.max(...shares),
      aim: atMost(TENTH_MORE),
      limit: 'Some 4 MiB came with the record of acknowledged commits, and as much with later features.',
    },
  ];
}
