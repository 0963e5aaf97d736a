/** Ctrl-C under load: requests in flight are answered, acknowledged writes are kept, and the stop is quick. */
import { ask, Bench, freeAddresses, memberBody, messageBody, must } from './durability-support';

/** Seconds that a stop may take: well above the two seconds of the product, since the machine may be busy. */
const LONGEST_S = 15;
const CLIENTS = 16;

const bench = new Bench();
afterEach(() => bench.clear());
afterAll(() => bench.close());

it.each(['SIGINT', 'SIGTERM'] as const)(
  'on %s every request is answered or its connection is closed',
  async (how) => {
    const directory = bench.directory();
    const stack = await bench.start({ directory });
    const { url } = stack;
    const [l1 = '', absent = ''] = await freeAddresses(2);
    await must('PUT', `${url}/cmbs/member/m`, { body: memberBody({ l1_socket: l1 }) });
    await must('POST', `${url}/cmbs/member/m?action=start_l1`);
    const acknowledged: string[] = [];
    const seen = { answered: 0, refused: 0, closed: 0 };
    let stopping = false;
    let reached = (): void => undefined;
    const underLoad = new Promise<void>((resolve) => {
      reached = resolve;
    });
    const client = async (which: number): Promise<void> => {
      for (let n = 0; ; n++) {
        const id = `stop-${which}-${n}`;
        const address = n % 4 === 0 ? absent : l1;
        try {
          const body = messageBody('l1', { message_content: n, l1_socket_receiver_member: address });
          const created = await ask('PUT', `${url}/cmbs/message/${id}`, { body });
          if (created.status === 201) acknowledged.push(id);
          const from = { attributes: { from: 'm' } };
          const sent = await ask('POST', `${url}/cmbs/message/${id}?action=send_l1`, { body: from });
          for (const { status } of [created, sent]) {
            if (status < 300) seen.answered += 1;
            else {
              // The only reason for a refusal is the stop, and its answer is 503.
              expect([status, stopping]).toEqual([503, true]);
              seen.refused += 1;
            }
          }
          if (acknowledged.length >= 5 * CLIENTS) reached();
        } catch (error) {
          // The connection was closed or refused; it did not time out.
          expect([(error as Error).message, stopping]).toEqual([
            expect.stringMatching(/fetch failed|terminated/),
            true,
          ]);
          seen.closed += 1;
          return;
        }
      }
    };
    const clients = Array.from({ length: CLIENTS }, (_, which) => client(which));
    // Waits that would last much longer than a stop: an inbox, and an event stream.
    await must('PUT', `${url}/cmbs/member/idle`, { body: memberBody({ local: 'true' }) });
    const poll = ask('GET', `${url}/cmbs/member/idle/inbox/?wait=20`).then(
      ({ status }) => status,
      () => 'closed',
    );
    const stream = ask('GET', `${url}/cmbs/member/idle/inbox/`, { headers: { Accept: 'text/event-stream' } }).then(
      ({ status }) => status,
      () => 'closed',
    );
    await underLoad;

    stopping = true;
    const began = performance.now();
    const exit = await (how === 'SIGINT' ? stack.interrupt() : stack.terminate());
    const seconds = (performance.now() - began) / 1000;
    await Promise.all(clients);
    process.stdout.write(
      `${how}: stopped in ${seconds.toFixed(2)} s under load; ${JSON.stringify(seen)}, ${acknowledged.length} created\n`,
    );
    expect(exit).toEqual({ code: 0, signal: null });
    expect(stack.lines.at(-1)).toBe('stopped');
    expect(stack.lines.filter((line) => /\berror\b/.test(line))).toEqual([]);
    expect(seconds).toBeLessThan(LONGEST_S);
    expect([200, 'closed']).toContain(await poll);
    expect([200, 'closed']).toContain(await stream);

    const again = await bench.start({ directory });
    for (const id of acknowledged) await must('GET', `${again.url}/cmbs/message/${id}`);
  },
);

it('a second Ctrl-C does not wait', async () => {
  const stack = await bench.start({ directory: bench.directory() });
  const first = stack.interrupt();
  const second = stack.interrupt();
  const [exit] = await Promise.all([first, second]);
  // Either the stop was complete, or the second signal ended the process.
  expect([
    { code: 0, signal: null },
    { code: null, signal: 'SIGINT' },
  ]).toContainEqual(exit);
});
