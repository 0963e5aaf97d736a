/**
 * XML-RPC with the stock clients of Python, Ruby, PHP, Perl and C, unmodified, against a server that is nothing but the
 * codec and node:http.
 */
import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { ExactNumber } from '@cmbs/shared/exact-json';
import { type Call, Fault, FAULT, type Outcome, xmlRpcProtocol } from '@cmbs/shared/services';
import { PATIENCE_MS } from '../patience';
import { itNeeding, itUnless } from '../skipping';

const CLIENTS = join(__dirname, '..', 'fixtures-clients');
const run = promisify(execFile);

function outcomeOf({ method, params }: Call): Outcome {
  switch (method) {
    case 'echo.echo':
      return { value: params };
    case 'trial.echo':
      return { value: params[0] ?? null };
    case 'trial.double':
      return { value: 3, type: 'double' };
    case 'trial.large':
      return { value: new ExactNumber('9223372036854775807') };
    case 'trial.characters':
      return { value: ' ü中😀\r\n' };
    case 'trial.basic':
      return { value: ' ü中\r\n' };
    case 'trial.nothing':
      return { value: null };
    case 'trial.fail':
      return { value: new Fault(42, 'No, "because" <of> & \r\nü.') };
    default:
      return { value: new Fault(FAULT.methodNotFound, 'There is no such method.') };
  }
}

let server: Server;
let url: string;
let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cmbs-clients-'));
  const protocol = xmlRpcProtocol();
  server = createServer((request, response) => {
    void buffer(request).then((body) => {
      const read = protocol.read(body, request.headers['content-type']);
      response.writeHead(200, { 'Content-Type': protocol.mediaType });
      response.end(read.answer(read.calls.map(outcomeOf)));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/RPC2`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(directory, { recursive: true });
});

const works = (command: string, ...args: string[]): boolean =>
  spawnSync(command, args, { timeout: PATIENCE_MS, stdio: 'ignore' }).status === 0;

/** A test that is skipped where the client is not installed. In CI, which has Python, that of Python fails then. */
const itWith = (isThere: boolean, what: string): ReturnType<typeof itNeeding> =>
  (what === 'python3' ? itNeeding : itUnless)(isThere ? undefined : `needs ${what}`);

/** What the client prints, sorted: one line for each check. */
async function linesOf(command: string, ...args: string[]): Promise<string[]> {
  const { stdout, stderr } = await run(command, [...args, url], { timeout: PATIENCE_MS });
  expect(stderr).toBe('');
  return stdout.trimEnd().split('\n').sort();
}

const passed = (checks: string): string[] =>
  checks
    .split(',')
    .map((name) => `ok ${name}`)
    .sort();

interface Client {
  readonly language: string;
  readonly isThere: boolean;
  /** What is missing where the client is not there. */
  readonly needs: string;
  readonly command: string;
  readonly program: string;
  /** The names of its checks. */
  readonly checks: string;
}

const EVERYWHERE =
  'all,array,bytes,boolean,characters,double,double of a signature,empty,fault,int,none,string,struct,time,unknown method';

const SCRIPTS: readonly Client[] = [
  {
    language: 'Python (xmlrpc.client)',
    isThere: works('python3', '-c', 'import xmlrpc.client'),
    needs: 'python3',
    command: 'python3',
    program: 'client.py',
    checks: `${EVERYWHERE},NaN,i8,iso-8859-1,large,nil,nil that was not asked for,small,us-ascii,utf-16`,
  },
  {
    language: 'Ruby (xmlrpc)',
    isThere: works('ruby', '-e', 'require "xmlrpc/client"'),
    needs: 'ruby with xmlrpc (ruby-xmlrpc)',
    command: 'ruby',
    program: 'client.rb',
    checks: `${EVERYWHERE},i8`,
  },
  {
    language: 'PHP (extension xmlrpc)',
    isThere: works('php', '-r', 'exit(function_exists("xmlrpc_decode") ? 0 : 1);'),
    needs: 'php with xmlrpc (php-cli, php-xmlrpc)',
    command: 'php',
    program: 'client.php',
    checks: `${EVERYWHERE},iso-8859-1`,
  },
  {
    language: 'Perl (Frontier::Client)',
    isThere: works('perl', '-MFrontier::Client', '-e', '1'),
    needs: 'perl with Frontier::Client (libfrontier-rpc-perl)',
    command: 'perl',
    program: 'frontier.pl',
    checks: EVERYWHERE,
  },
  {
    language: 'Perl (RPC::XML)',
    isThere: works('perl', '-MRPC::XML::Client', '-e', '1'),
    needs: 'perl with RPC::XML (librpc-xml-perl)',
    command: 'perl',
    program: 'rpc-xml.pl',
    checks: `${EVERYWHERE},i8,nil`,
  },
];

for (const { language, isThere, needs, command, program, checks } of SCRIPTS) {
  itWith(isThere, needs)(`works with ${language}`, async () => {
    expect(await linesOf(command, join(CLIENTS, program))).toEqual(passed(checks));
  });
}

const hasC = works('xmlrpc-c-config', 'client', '--libs') && works('cc', '--version');
itWith(hasC, 'a C compiler and xmlrpc-c (libxmlrpc-core-c3-dev)')('works with C (xmlrpc-c)', async () => {
  const program = join(directory, 'client');
  const { stdout: flags } = await run('xmlrpc-c-config', ['client', '--cflags', '--libs']);
  // The library of the client is linked with libcurl itself; a linker would want the headers' package.
  const libraries = flags
    .trim()
    .split(/\s+/)
    .filter((flag) => flag !== '-lcurl');
  await run('cc', ['-o', program, join(CLIENTS, 'client.c'), ...libraries], { timeout: PATIENCE_MS });
  expect(await linesOf(program)).toEqual(
    passed(
      'boolean,bytes,characters,double,double of a signature,fault,i8,int,nil,string,struct,time,unknown method',
    ),
  );
});

itWith(works('which', 'xmlrpc'), 'the command xmlrpc (xmlrpc-api-utils)')(
  'works with the command xmlrpc of xmlrpc-c',
  async () => {
    const { stdout } = await run(
      'xmlrpc',
      [url, 'echo.echo', 's/ü <&>', 'i/-12', 'd/1.5', 'b/true', 'n/', 'I/9223372036854775807'],
      { timeout: PATIENCE_MS },
    );
    expect(stdout).toMatch(/\\xc3\\xbc <&>.*-12.*1\.5.*(?:TRUE|true).*Nil.*9223372036854775807/s);
  },
);
