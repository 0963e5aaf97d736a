/** Messages of one sender keep their order (docs/guarantees.md, "Order"), in a burst, through a queue and after a crash. */
import { Dealer } from 'zeromq';
import { Bench, freeAddresses, inboxOf, memberBody, messageBody, must, until } from './durability-support';

const bench = new Bench();
afterEach(() => bench.clear());
afterAll(() => bench.close());

const numbers = (count: number): readonly number[] => Array.from({ length: count }, (_, n) => n);

it('messages of one burst into an empty inbox keep their order', async () => {
  const stack = await bench.start({ directory: bench.directory() });
  const [l1 = ''] = await freeAddresses(1);
  await must('PUT', `${stack.url}/cmbs/member/m`, { body: memberBody({ l1_socket: l1 }) });
  await must('POST', `${stack.url}/cmbs/member/m?action=start_l1`);

  const peer = new Dealer({ linger: 0 });
  try {
    peer.connect(l1);
    const burst = numbers(100);
    for (const n of burst) {
      const id = `burst-${n}`;
      const storable = n % 3 === 0 ? 'false' : 'true';
      const content = n % 5 === 0 ? { method: 'echo.echo', params: [n] } : n;
      const frame = {
        ...messageBody('l1', { cmbs_layer: 'l1', message_content: content, storable, executable: 'true' }),
        id,
      };
      await peer.send([`${n}`, '', JSON.stringify(frame)]);
    }
    const entries = await until(
      () => inboxOf(stack.url, 'm'),
      (seen) => seen.length >= burst.length,
    );
    expect(entries.map(({ messageId }) => messageId)).toEqual(burst.map((n) => `burst-${n}`));
  } finally {
    peer.close();
  }
});
