/** The companion's image cannot be built here, so these tests check its Dockerfile line by line. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CLOUD_SETTINGS } from '@cmbs/shared/config';
import { notEmpty } from '../not-empty';

const ROOT = join(__dirname, '../..');

interface Instruction {
  readonly name: string;
  readonly value: string;
}

/** Stages of a Dockerfile with their instructions; continuation lines are joined, comments are left out. */
function stages(text: string): readonly (readonly Instruction[])[] {
  const all: Instruction[][] = [];
  const joined = text.replace(/^#.*\n/gm, '').replace(/\\\n\s*/g, '');
  for (const line of joined.split('\n').filter((one) => one.trim() !== '')) {
    const [, name = '', value = ''] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
    if (name === 'FROM') all.push([]);
    all.at(-1)?.push({ name, value });
  }
  return all;
}

describe("the companion's Dockerfile", () => {
  const [build = [], run = [], ...others] = stages(readFileSync(join(ROOT, 'companion/Dockerfile'), 'utf8'));
  const values = (of: readonly Instruction[], name: string): readonly string[] =>
    of.filter((one) => one.name === name).map(({ value }) => value);

  it('has two stages and only known instructions', () => {
    expect(others).toEqual([]);
    const names = [...build, ...run].map(({ name }) => name);
    expect([...new Set(names)].sort()).toEqual(
      [
        'ARG',
        'COPY',
        'ENTRYPOINT',
        'ENV',
        'EXPOSE',
        'FROM',
        'HEALTHCHECK',
        'RUN',
        'STOPSIGNAL',
        'USER',
        'WORKDIR',
      ].sort(),
    );
  });

  it('builds and runs on the same major of Node and the same release of Debian', () => {
    const majors = [build, run].map((stage) => /node(?:js)?:?(\d+)/.exec(values(stage, 'FROM')[0] ?? '')?.[1]);
    expect(new Set(majors)).toEqual(new Set(['24']));
    expect(values(build, 'FROM')[0]).toContain('bookworm');
    expect(values(run, 'FROM')[0]).toContain('debian12');
  });

  it('runs as a user other than root, from files that root owns', () => {
    expect(values(run, 'FROM')[0]).toMatch(/^gcr\.io\/distroless\/.*:nonroot$/);
    expect(values(run, 'USER')).toEqual(['65532:65532']);
    for (const copied of notEmpty(values(run, 'COPY'))) expect(copied).toMatch(/^--from=build --chown=root:root /);
  });

  it('needs no shell: nothing runs in the last stage, and its commands are lists', () => {
    expect(values(run, 'RUN')).toEqual([]);
    const [check = ''] = values(run, 'HEALTHCHECK');
    const [entry = ''] = values(run, 'ENTRYPOINT');
    const lists = [check.slice(check.indexOf('CMD') + 3), entry].map((text) => JSON.parse(text) as string[]);
    for (const [program] of lists) expect(program).toBe('/nodejs/bin/node');
    expect(lists.map((list) => list.at(-1))).toEqual(['healthcheck.js', 'main.js']);
    for (const name of ['main', 'healthcheck']) expect(existsSync(join(ROOT, `companion/${name}.ts`))).toBe(true);
  });

  it('sets only settings that exist, and stops with the signal that starts a drain', () => {
    const [env = ''] = values(run, 'ENV');
    const names = [...env.matchAll(/([A-Z_]+)=/g)].map(([, name]) => name);
    for (const name of notEmpty(names))
      expect([...Object.keys(CLOUD_SETTINGS), 'NODE_ENV', 'NODE_OPTIONS']).toContain(name);
    expect(values(run, 'STOPSIGNAL')).toEqual(['SIGTERM']);
  });

  it('limits the heap to less than the memory at which the companion hands over', () => {
    const [env = ''] = values(run, 'ENV');
    const heap = Number(/--max-old-space-size=(\d+)/.exec(env)?.[1]);
    const limit = Number(/CMBS_MEMORY_LIMIT_MB=(\d+)/.exec(env)?.[1]);
    expect(heap).toBeGreaterThan(256);
    expect(heap).toBeLessThan(limit);
  });

  it('sends no secrets and no data to the build', () => {
    const ignored = readFileSync(join(ROOT, '.dockerignore'), 'utf8').split('\n');
    expect(ignored).toEqual(expect.arrayContaining(['.git', '.cmbs', 'node_modules', 'dist']));
  });
});
