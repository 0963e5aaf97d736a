/** What callers over HTTP learn of an error in a module, without and with the debug switch. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RpcStack } from '../../e2e/rpc-support';
import { WorkerProgram } from './support';

/** Its types are removed, so the lines that run are not those of the source. */
const SOURCE = `import type { Nothing } from './none';
interface Divisor {
  readonly divisor: number;
}

export const methods = {
  amethod: {
    documentation: 'Fails on line 11.',
    signatures: ['double', 'double,struct'],
    flags: { callers: 'everybody' },
    call: (_context: Nothing, [first]: readonly Divisor[]): number => 1 / first.divisor.at(0),
  },
  refuses: {
    documentation: 'Refuses.',
    signatures: ['string'],
    flags: { callers: 'everybody' },
    call: ({ Fault }: { Fault: new (code: number, text: string) => Error }): never => {
      throw new Fault(42, 'Not now.');
    },
  },
};
`;

let worker: WorkerProgram;
let directory: string;
beforeAll(() => {
  worker = new WorkerProgram();
  directory = mkdtempSync(join(tmpdir(), 'cmbs-debug-'));
  mkdirSync(join(directory, 'newservice'));
  writeFileSync(join(directory, 'newservice/index.ts'), SOURCE);
});
afterAll(() => {
  worker.remove();
  rmSync(directory, { recursive: true });
});

const ARGUMENT =
  '<value><struct><member><name>divisor</name><value><int>0</int></value></member></struct></value>';

/** The texts of the faults in both protocols. */
async function faults(env: Readonly<Record<string, string>>): Promise<readonly (readonly string[])[]> {
  const stack = new RpcStack();
  const modules = { workerFile: worker.path };
  try {
    await stack.start({ CMBS_MODULES_DIR: directory, CMBS_MODULE_ERRORS: 'fatal', ...env }, { modules });
    const call = (method: string, params: string): Promise<{ readonly text: string }> =>
      stack.post(`{"jsonrpc":"2.0","id":1,"method":"newservice.${method}","params":${params}}`);
    return [
      [(await call('amethod', '[{"divisor":0}]')).text, (await stack.xml('newservice.amethod', [ARGUMENT])).text],
      [(await call('refuses', '[]')).text, (await stack.xml('newservice.refuses')).text],
    ];
  } finally {
    await stack.close();
  }
}

const REFUSALS = [
  '{"jsonrpc":"2.0","id":1,"error":{"code":42,"message":"Not now."}}',
  expect.stringContaining(
    '<int>42</int></value></member><member><name>faultString</name><value><string>Not now.<',
  ),
];

it('without the switch, an unexpected error is a correlation id and nothing else', async () => {
  const [failed = [], refused] = await faults({});
  for (const text of failed) {
    expect(text).toMatch(/The method newservice\.amethod failed; the log has the cause under [0-9a-f-]{36}\./);
    expect(text).toContain('-32603');
    expect(text).not.toMatch(/TypeError|divisor|index\.ts|at\(|127\.0\.0\.1|anonymous/);
    expect(text).not.toContain(directory);
  }
  expect(refused).toEqual(REFUSALS);
});

it('with the switch, it has the stack with the line of the source, the principal and the address', async () => {
  const [failed = [], refused] = await faults({ CMBS_DEBUG_FAULTS: 'yes' });
  for (const text of failed) {
    expect(text).toContain('TypeError: first.divisor.at is not a function');
    expect(text).toMatch(/newservice\/index\.ts:11:\d+/);
    expect(text).toContain('Called by anonymous:anonymous from 127.0.0.1.');
    expect(text).toContain('-32603');
  }
  expect(refused).toEqual(REFUSALS);
});
