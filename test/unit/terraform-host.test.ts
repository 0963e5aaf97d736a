/** The script that starts the companion's container on its machine, run with stand-ins for curl and docker. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { terraform, itWithTerraform } from './terraform-runs';

const TEMPLATE = join(__dirname, '..', '..', 'terraform', 'modules', 'companion', 'cloud-init.yaml.tftpl');
const IMAGE = 'europe-west1-docker.pkg.dev/example-project/cmbs-companion/companion@sha256:0123';
const SECRET = 'two words\nand "a line"';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cmbs-host-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

/** The content of /etc/cmbs/start, which cloud-init writes. */
function startScript(
  secrets: Readonly<Record<string, { readonly secret: string; readonly version: string }>>,
  passwordFile: { readonly secret: string; readonly path: string } | null = null,
): string {
  const values = {
    image: IMAGE,
    registry: 'europe-west1-docker.pkg.dev',
    project_id: 'example-project',
    environment: { NODE_ENV: 'production' },
    secrets,
    password_file: passwordFile,
    member_ports: '5010:5040',
    control_port: 8080,
    drain_seconds: 15,
  };
  const rendered = `templatefile(${JSON.stringify(TEMPLATE)}, jsondecode(${JSON.stringify(JSON.stringify(values))}))`;
  const printed = terraform(directory, ['console'], `base64encode(jsonencode(yamldecode(${rendered})))\n`);
  const { write_files: files } = JSON.parse(Buffer.from(printed.replaceAll('"', ''), 'base64').toString()) as {
    readonly write_files: readonly { readonly path: string; readonly content: string }[];
  };
  return files.find(({ path }) => path === '/etc/cmbs/start')?.content ?? '';
}

interface Outcome {
  readonly status: number | null;
  /** Arguments of every command that the script ran, one per line. */
  readonly commands: readonly string[];
  /** The environment of the container. */
  readonly secret: string | undefined;
  /** The file that the container gets as the password of the first administrator. */
  readonly password: string | undefined;
}

function start(script: string, answers: { readonly secretManager: string }): Outcome {
  const standIn = (name: string, body: string): void =>
    writeFileSync(join(directory, name), `#!/bin/bash\necho "${name} $*" >> "${directory}/commands"\n${body}\n`, {
      mode: 0o755,
    });
  standIn(
    'curl',
    `case "$*" in
      */service-accounts/default/token) echo '{"access_token":"a-token","expires_in":3599,"token_type":"Bearer"}' ;;
      */network-interfaces/0/ip) echo 10.80.0.2 ;;
      *secretmanager.googleapis.com/v1/projects/example-project/secrets/example/versions/3:access)
        read -r header; [ "$header" = 'header = "Authorization: Bearer a-token"' ] || exit 22
        ${answers.secretManager} ;;
      *secretmanager.googleapis.com/v1/projects/example-project/secrets/root-password/versions/latest:access)
        read -r header; [ "$header" = 'header = "Authorization: Bearer a-token"' ] || exit 22
        ${answers.secretManager} ;;
      *) exit 6 ;;
    esac`,
  );
  standIn('docker', `if [ "$1" = run ]; then printf %s "\${CMBS_EXAMPLE-}" > "${directory}/secret"; fi`);
  writeFileSync(join(directory, 'start'), script);
  const { status } = spawnSync('/bin/bash', [join(directory, 'start')], {
    env: { PATH: `${directory}:/usr/bin:/bin`, RUNTIME_DIRECTORY: directory },
  });
  const contentOf = (name: string): string | undefined =>
    existsSync(join(directory, name)) ? readFileSync(join(directory, name), 'utf8') : undefined;
  return {
    status,
    commands: readFileSync(join(directory, 'commands'), 'utf8').trim().split('\n'),
    secret: contentOf('secret'),
    password: contentOf('admin-password'),
  };
}

describe("the companion's machine", () => {
  const secrets = { CMBS_EXAMPLE: { secret: 'example', version: '3' } };
  const encoded = Buffer.from(SECRET).toString('base64');

  itWithTerraform('passes its secrets to the container and shows them nowhere', () => {
    const { status, commands, secret } = start(startScript(secrets), {
      secretManager: `printf '{\\n  "name": "projects/1/secrets/example/versions/3",\\n  "payload": {\\n    "data": "${encoded}"\\n  }\\n}\\n'`,
    });
    expect(status).toBe(0);
    expect(secret).toBe(SECRET);
    const arguments_ = commands.join('\n');
    expect(arguments_).toContain('--env CMBS_EXAMPLE ');
    for (const hidden of [SECRET, encoded, 'a-token']) expect(arguments_).not.toContain(hidden);
  });

  for (const [which, secretManager] of [
    ['that Secret Manager refuses', 'exit 22'],
    ['that is not there', 'echo "{}"'],
  ] as const) {
    itWithTerraform(`does not start the container without a secret ${which}`, () => {
      const { status, commands } = start(startScript(secrets), { secretManager });
      expect(status).not.toBe(0);
      expect(commands.filter((command) => command.startsWith('docker run'))).toEqual([]);
    });
  }

  const passwordFile = { secret: 'root-password', path: '/run/secrets/password' };

  itWithTerraform('passes the password of the first administrator to the container as a file', () => {
    const script = startScript({}, passwordFile);
    const answer = (value: string): string => `printf '{"payload": {"data": "${value}"}}'`;
    const { status, commands, password, secret } = start(script, { secretManager: answer(encoded) });
    expect([status, password, secret]).toEqual([0, SECRET, '']);
    expect(statSync(join(directory, 'admin-password')).mode & 0o777).toBe(0o444);
    const run = commands.find((command) => command.startsWith('docker run')) ?? '';
    const source = join(directory, 'admin-password');
    expect(run).toContain(` --mount type=bind,source=${source},target=/run/secrets/password,readonly `);
    for (const hidden of [SECRET, encoded, 'a-token']) expect(commands.join('\n')).not.toContain(hidden);
  });

  itWithTerraform('does not start the container without the password that it should have', () => {
    const { status, commands } = start(startScript({}, passwordFile), { secretManager: 'exit 22' });
    expect(status).not.toBe(0);
    expect(commands.filter((command) => command.startsWith('docker run'))).toEqual([]);
  });

  it('keeps the password in a directory that is in memory and for root only', () => {
    const unit = readFileSync(TEMPLATE, 'utf8');
    for (const line of ['RuntimeDirectory=cmbs', 'RuntimeDirectoryMode=0700']) expect(unit).toContain(`${line}\n`);
  });

  it('restarts a container each time it ends', () => {
    const unit = readFileSync(TEMPLATE, 'utf8');
    for (const line of ['Restart=always', 'RestartSec=1', 'StartLimitIntervalSec=0']) expect(unit).toContain(line);
  });

  itWithTerraform('passes the container its address and no privileges', () => {
    const { commands } = start(startScript({}), { secretManager: 'exit 22' });
    const run = commands.find((command) => command.startsWith('docker run')) ?? '';
    expect(run).toContain('--env CMBS_CONTROL_URL=http://10.80.0.2:8080 ');
    expect(run).toContain(' --network host --user 65532:65532 --read-only ');
    expect(run).toContain(' --cap-drop ALL --security-opt no-new-privileges ');
    expect(run).toContain(' --stop-timeout 15 ');
    expect(run.endsWith(` ${IMAGE}`)).toBe(true);
    const figure = (pattern: RegExp): number => Number(pattern.exec(run)?.[1]);
    const container = figure(/ --memory (\d+)m --memory-swap \1m /);
    const limit = figure(/ --env CMBS_MEMORY_LIMIT_MB=(\d+) /);
    const heap = figure(/ --env NODE_OPTIONS=--max-old-space-size=(\d+) /);
    expect(container).toBeLessThan(totalmem() / 1024 ** 2);
    expect([container > limit, limit > heap, heap > 0]).toEqual([true, true, true]);
    expect(commands.some((command) => command.includes('secretmanager'))).toBe(false);
  });
});
