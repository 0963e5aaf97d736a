/**
 * Calls of `echo.echo` over HTTP by a user with an access token, whose right is decided for each call, compared with
 * node:http with the same bytes and with an empty function.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { answerOf } from './http-case';
import { askOnce, loadHttp, requestText } from './http-load';
import { Bare, Deployed, emptyFunction, Product } from './programs';
import { atLeast, compared, type Contestant, inTurn, type Row } from './rounds';

const ROUNDS = 7;
const ROUND_MS = 350;
const CONNECTIONS = [1, 32] as const;

const ACCESS = 'http://houssem.org/cmbs/access#';
const PASSWORD = 'correct horse battery';
const CLOSED = { CMBS_ADMINISTRATORS: 'root' };

const JSON_CALL = '{"jsonrpc":"2.0","id":1,"method":"echo.echo","params":["building-4/floor-2/room-17",21.5]}';
const XML_CALL =
  '<?xml version="1.0"?><methodCall><methodName>echo.echo</methodName><params><param><value><string>building-4/floor-2/room-17</string></value></param><param><value><double>21.5</double></value></param></params></methodCall>';

const LIMIT =
  'The token is read from the store for each request, so that a deleted token is refused at once; the call is decided, counted, timed and logged.';

const basic = (name: string): string => `Basic ${Buffer.from(`${name}:${PASSWORD}`).toString('base64')}`;

/** Makes a user; returns the token of a session of the user, which `system.auth` opens. */
async function prepare(directory: string, scratch: string): Promise<string> {
  const passwordFile = join(scratch, 'password');
  await writeFile(passwordFile, PASSWORD);
  const settings = { ...CLOSED, CMBS_IDENTITIES: 'basic,token', CMBS_ADMIN_PASSWORD_FILE: passwordFile };
  const product = await Product.start({ directory, settings });
  const send = (caller: string, method: string, path: string, body: unknown): ReturnType<typeof askOnce> => {
    const headers = { Authorization: basic(caller), 'Content-Type': 'application/json' };
    return askOnce(product.port, requestText(method, path, headers, JSON.stringify(body)));
  };
  try {
    const attributes = { 'cmbs.access.user.password': PASSWORD };
    await send('root', 'PUT', '/cmbs/access/user/alice', { kind: `${ACCESS}user`, attributes });
    const { body } = await send('alice', 'POST', '/rpc', { jsonrpc: '2.0', id: 1, method: 'system.auth' });
    const { result } = JSON.parse(body) as { readonly result?: { readonly token: string } };
    if (result === undefined) throw new Error(`no session: ${body}`);
    return result.token;
  } finally {
    await product.stop();
  }
}

export async function rpcCase(scratchOfFunctions: string): Promise<readonly Row[]> {
  const scratch = await mkdtemp(join(tmpdir(), 'cmbs-bench-rpc-'));
  const rows: Row[] = [];
  const closing: (() => Promise<void>)[] = [() => rm(scratch, { recursive: true, force: true })];
  try {
    const directory = join(scratch, 'data');
    const token = await prepare(directory, scratch);
    const product = await Product.start({ directory, settings: { ...CLOSED, CMBS_IDENTITIES: 'token' } });
    closing.push(() => product.stop());
    const open = await Product.start();
    closing.push(() => open.close());
    const framework = await Deployed.function(await emptyFunction(scratchOfFunctions), 'empty');
    closing.push(() => framework.close());
    await framework.answers(requestText('GET', '/'), 200);
    for (const [what, type, body] of [
      ['JSON-RPC', 'application/json', JSON_CALL],
      ['XML-RPC', 'text/xml', XML_CALL],
    ] as const) {
      const headers = { 'Content-Type': type, Authorization: `Bearer ${token}` };
      const request = requestText('POST', '/rpc', headers, body);
      const bare = await Bare.start('http', answerOf(await askOnce(product.port, request)));
      closing.push(() => bare.close());
      for (const connections of CONNECTIONS) {
        const contestant = (name: string, port: number): Contestant => ({
          name,
          run: async () => (await loadHttp({ port, connections, ms: ROUND_MS, request: () => request })).perSecond,
        });
        const figures = await inTurn(
          [
            contestant('cmbs', product.port),
            contestant('node:http', bare.port),
            contestant('empty function', framework.port),
            contestant('identities off', open.port),
          ],
          ROUNDS,
        );
        const common = {
          what: `call by ${what}, c=${connections}`,
          unit: '/s',
          ours: 'cmbs',
          limit: LIMIT,
        } as const;
        rows.push(
          compared(figures, { ...common, against: 'node:http', aim: atLeast(0.4) }),
          compared(figures, { ...common, against: 'empty function' }),
          compared(figures, { ...common, against: 'identities off' }),
        );
      }
    }
  } finally {
    for (let step = closing.pop(); step !== undefined; step = closing.pop()) await step();
  }
  return rows;
}
