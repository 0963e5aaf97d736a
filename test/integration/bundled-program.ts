/** Makes a TypeScript program of the tests runnable by `node`, in `dist/` so that it finds its packages. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build, buildSync, type BuildOptions, type Plugin } from 'esbuild';

const ROOT = resolve(__dirname, '../..');

/** Limits of the bus by their names in `shared/bus/pubsub/limits.ts`, with values for a test. */
export type Limits = Readonly<Record<string, number>>;

export interface BundledProgram {
  readonly path: string;
  remove(): void;
}

/** `source` is relative to the root of the repository. */
export function bundleProgram(source: string): BundledProgram {
  const { program, options } = prepare(source);
  try {
    buildSync(options);
  } catch (error) {
    program.remove();
    throw error;
  }
  return program;
}

/** The same, with other limits than the product's. */
export async function bundleProgramWith(limits: Limits, source: string): Promise<BundledProgram> {
  const { program, options } = prepare(source);
  try {
    await build({ ...options, plugins: [replaceLimits(limits)] });
  } catch (error) {
    program.remove();
    throw error;
  }
  return program;
}

function prepare(source: string): { readonly program: BundledProgram; readonly options: BuildOptions } {
  mkdirSync(join(ROOT, 'dist'), { recursive: true });
  const directory = mkdtempSync(join(ROOT, 'dist', 'test-'));
  const path = join(directory, 'program.js');
  return {
    program: { path, remove: () => rmSync(directory, { recursive: true, force: true }) },
    options: {
      entryPoints: [join(ROOT, source)],
      outfile: path,
      bundle: true,
      platform: 'node',
      target: 'node20',
      external: ['@photostructure/sqlite', 'zeromq'],
      logLevel: 'error',
    },
  };
}

const replaceLimits = (limits: Limits): Plugin => ({
  name: 'limits',
  setup: (bundling) =>
    bundling.onLoad({ filter: /\/shared\/bus\/pubsub\/limits\.ts$/ }, ({ path }) => {
      let contents = readFileSync(path, 'utf8');
      for (const [name, value] of Object.entries(limits)) {
        // The default, among those on one line: `{ callMs: 10_000, ackDeadlineS: 30 }`.
        const definition = new RegExp(`(?<=[{,] ${name}: )[\\d_]+(?= \\}|,)`);
        if (!definition.test(contents)) throw new Error(`there is no limit ${name}`);
        contents = contents.replace(definition, String(value));
      }
      return { contents, loader: 'ts' };
    }),
});
