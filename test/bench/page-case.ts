/**
 * A filtered page out of few and out of many entities: with an index, the number of entities makes no difference.
 */
import { askOnce, loadHttp, requestText } from './http-load';
import { Product } from './programs';
import { atMost, compared, inTurn, type Row } from './rounds';

const FEW = 1000;
const MANY = 100_000;
const BATCH = 500;
const ROUNDS = 7;
const ROUND_MS = 300;
const MEMBER = 'http://houssem.org/cmbs#message';

/** Every tenth entity has the requested priority, and every second the requested layer. */
function entity(n: number): unknown {
  return {
    kind: MEMBER,
    mixins: [`http://houssem.org/cmbs#l${n % 2 === 0 ? 1 : 2}`],
    attributes: { 'cmbs.message.ordering_key': `group-${n % 10}`, 'cmbs.message.message_content': n },
  };
}

async function fill(product: Product, count: number): Promise<void> {
  const type = 'application/json';
  for (let from = 0; from < count; from += BATCH) {
    const resources = Array.from({ length: BATCH }, (_, at) => entity(from + at));
    const body = JSON.stringify({ resources });
    await askOnce(product.port, requestText('POST', '/', { 'Content-Type': type, Accept: type }, body));
  }
}

const QUERIES = [
  ['one term', '/cmbs/message/?attribute=cmbs.message.ordering_key&value=group-3&number=20'],
  ['two terms', '/cmbs/message/l2/?attribute=cmbs.message.ordering_key&value=group-3&number=20'],
] as const;

export async function pageCase(): Promise<readonly Row[]> {
  const few = await Product.start();
  const many = await Product.start();
  try {
    await fill(few, FEW);
    await fill(many, MANY);
    const rows: Row[] = [];
    for (const [terms, target] of QUERIES) {
      const request = requestText('GET', target, { Accept: 'application/occi+json' });
      const found = (await askOnce(many.port, request)).body.split('/cmbs/message/').length - 1;
      if (found !== 20) throw new Error(`a page of ${found} entities`);
      const time = (port: number) => async (): Promise<number> =>
        (await loadHttp({ port, connections: 1, ms: ROUND_MS, request: () => request })).p50;
      const [small, large] = [FEW.toLocaleString('en'), MANY.toLocaleString('en')];
      const figures = await inTurn(
        [
          { name: large, run: time(many.port) },
          { name: small, run: time(few.port) },
        ],
        ROUNDS,
      );
      rows.push(
        compared(figures, {
          what: `a page of 20, ${terms}, of ${large}`,
          unit: 'µs',
          ours: large,
          against: small,
          aim: atMost(1.5),
        }),
      );
    }
    return rows;
  } finally {
    await few.close();
    await many.close();
  }
}
