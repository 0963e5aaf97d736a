/** The test files of `npm test` and of the nightly run; together they leave no file out. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

/** File names by project or by reason, in the form of `selection.cjs`. */
type Files = Readonly<Record<string, readonly string[]>>;

const { ALONE, filesByProject, leftOut, LONGEST_FIRST, NIGHTLY_CLOUD, ON_EMULATORS, OPEN_ONLY, selected } =
  jest.requireActual<{
    readonly ALONE: readonly string[];
    readonly LONGEST_FIRST: readonly string[];
    readonly NIGHTLY_CLOUD: Readonly<Record<string, string>>;
    readonly ON_EMULATORS: Readonly<Record<string, string>>;
    readonly OPEN_ONLY: Readonly<Record<string, string>>;
    readonly filesByProject: () => Files;
    readonly leftOut: () => Files;
    readonly selected: (run: { readonly which?: string; readonly isNightly: boolean }) => Files;
  }>('../run/selection.cjs');

const PROJECTS = ['local', 'cloud', 'cloud e2e', 'closed e2e'];
const all = filesByProject();

const both = (isNightly: boolean): Files => {
  const [together, alone] = ['together', 'alone'].map((which) => selected({ which, isNightly })) as [Files, Files];
  return Object.fromEntries(
    PROJECTS.map((project) => [project, [...(together[project] ?? []), ...(alone[project] ?? [])].sort()]),
  );
};

describe('the choice of test files', () => {
  it('has every file in a project, and each project has files', () => {
    expect(Object.keys(all)).toEqual(PROJECTS);
    for (const project of PROJECTS) expect(all[project]?.length).toBeGreaterThan(10);
    expect(all.local).toContain('test/unit/selection.test.ts');
  });

  it('runs every file of every project once at night', () => {
    expect(both(true)).toEqual(all);
    expect(selected({ isNightly: true })).toEqual(all);
  });

  it('leaves only files with a reason out of npm test', () => {
    const left = Object.values(leftOut()).flat();
    const daily = both(false);
    for (const project of PROJECTS) {
      const missing = all[project]?.filter((file) => daily[project]?.includes(file) !== true) ?? [];
      expect(left).toEqual(expect.arrayContaining(missing));
    }
    expect(daily.local).toEqual(all.local);
    expect(left.length).toBeGreaterThan(0);
  });

  it('runs each end-to-end suite on closed deployments as well, unless a reason is given', () => {
    const suites = all.local?.filter((file) => file.startsWith('test/e2e/')) ?? [];
    expect([...(all['closed e2e'] ?? []), ...Object.keys(OPEN_ONLY)].sort()).toEqual(suites);
    expect(both(false)['closed e2e']).toEqual([]);
  });

  it('names only files that exist', () => {
    const named = [ALONE, ...[NIGHTLY_CLOUD, ON_EMULATORS, OPEN_ONLY].map(Object.keys)].flat();
    for (const file of named) expect([file, existsSync(resolve(__dirname, '../..', file))]).toEqual([file, true]);
    const found = Object.entries(all).flatMap(([project, files]) => files.map((file) => `${project}: ${file}`));
    expect(found).toEqual(expect.arrayContaining([...LONGEST_FIRST]));
    for (const file of Object.keys(ON_EMULATORS)) expect(all['cloud e2e']).toContain(file);
    for (const file of Object.keys(NIGHTLY_CLOUD)) expect(all.cloud).toContain(file);
  });
});
