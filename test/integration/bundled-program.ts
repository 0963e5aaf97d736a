/** Bundles a TypeScript program of the tests for `node`, in `dist/` so that it finds its packages. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { buildSync, type BuildOptions } from 'esbuild';

const ROOT = resolve(__dirname, '../..');

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
