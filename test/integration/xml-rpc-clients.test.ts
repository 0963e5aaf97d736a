/**
 * The stock clients of Python, Ruby, PHP, Perl and C, unmodified, at `/RPC2` of a closed deployment, with the name and
 * the password of a user.
 */
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ExactNumber } from '@cmbs/shared/exact-json';
import { Fault, type ServiceModule, type Value } from '@cmbs/shared/services';
import { basic, ROOT_PASSWORD, RpcStack } from '../e2e/rpc-support';
import { PATIENCE_MS } from '../patience';
import { itNeeding } from '../skipping';

const CLIENTS = join(__dirname, '..', 'fixtures-clients');
const run = promisify(execFile);

const returning = (type: string, value: Value): ServiceModule['methods'][string] => ({
  documentation: `Returns ${type}.`,
  signatures: [[type]],
  call: () => value,
});

const trial: ServiceModule = {
  name: 'trial',
  methods: {
    echo: {
      documentation: 'Returns its argument.',
      signatures: [['any', 'any']],
      call: (_context, [value = null]) => value,
    },
    double: returning('double', 3),
    large: returning('i8', new ExactNumber('9223372036854775807')),
    characters: returning('string', ' ü中😀\r\n'),
    basic: returning('string', ' ü中\r\n'),
    nothing: returning('nil', null),
    fail: {
      documentation: 'Fails.',
      signatures: [['nil']],
      call: () => {
        throw new Fault(42, 'No, "because" <of> & \r\nü.');
      },
    },
  },
};

/** In URLs, it needs no escapes. */
const PASSWORD = 'first-password-of-alice';

const stack = new RpcStack(trial);
/** With the name and the password, which most clients read from there. */
let url: string;
let plainUrl: string;
let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cmbs-clients-'));
  await stack.startClosed();
  const { status } = await stack.ask(
    'PUT',
    '/cmbs/access/user/alice',
    { kind: 'http://houssem.org/cmbs/access#user', attributes: { 'cmbs.access.user.password': PASSWORD } },
    basic('root', ROOT_PASSWORD),
  );
  expect(status).toBe(201);
  plainUrl = `${stack.url}/RPC2`;
  url = `${stack.url.replace('//', `//alice:${PASSWORD}@`)}/RPC2`;
});
afterAll(async () => {
  await stack.close();
  rmSync(directory, { recursive: true });
});

const works = (command: string, ...args: string[]): boolean =>
  spawnSync(command, args, { timeout: PATIENCE_MS, stdio: 'ignore' }).status === 0;

/** A test that is skipped where the client is not installed, and fails then in CI, which has all of them. */
const itWith = (isThere: boolean, what: string): ReturnType<typeof itNeeding> =>
  itNeeding(isThere ? undefined : `needs ${what}`);

/** What the client prints, sorted: one line for each check. */
async function linesOf(command: string, ...args: string[]): Promise<string[]> {
  const { stdout, stderr } = await run(command, args, { timeout: PATIENCE_MS });
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
  'all,array,bytes,boolean,characters,double,double of a signature,empty,fault,int,introspection,multicall,none,string,struct,time,unknown method';

const SCRIPTS: readonly Client[] = [
  {
    language: 'Python (xmlrpc.client)',
    isThere: works('python3', '-c', 'import xmlrpc.client'),
    needs: 'python3',
    command: 'python3',
    program: 'client.py',
    checks: `${EVERYWHERE},NaN,i8,iso-8859-1,large,nil,nil that was not asked for,small,us-ascii,utf-16,wrong password`,
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
    expect(await linesOf(command, join(CLIENTS, program), url)).toEqual(passed(checks));
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
  expect(await linesOf(program, 'alice', PASSWORD, plainUrl)).toEqual(
    passed(
      'boolean,bytes,characters,double,double of a signature,fault,i8,int,introspection,nil,string,struct,time,unknown method',
    ),
  );
});

itWith(works('which', 'xmlrpc'), 'the command xmlrpc (xmlrpc-api-utils)')(
  'works with the command xmlrpc of xmlrpc-c',
  async () => {
    const { stdout } = await run(
      'xmlrpc',
      [
        '-username',
        'alice',
        '-password',
        PASSWORD,
        plainUrl,
        'echo.echo',
        's/ü <&>',
        'i/-12',
        'd/1.5',
        'b/true',
        'n/',
        'I/9223372036854775807',
      ],
      { timeout: PATIENCE_MS },
    );
    expect(stdout).toMatch(/\\xc3\\xbc <&>.*-12.*1\.5.*(?:TRUE|true).*Nil.*9223372036854775807/s);
  },
);
