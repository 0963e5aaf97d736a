/**
 * TypeScript in the thread of a module. Each file is compiled by itself when it is imported, without a bundle and with its
 * source map, so that stacks name the module's own file and line. With esbuild, modules are compiled to CommonJS and
 * loaded through a hook of `require`; without it Node.js removes the types itself, which Node.js 20 cannot.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** What is used of esbuild, which the program finds. */
interface Esbuild {
  readonly transformSync: (
    source: string,
    options: {
      readonly loader: 'ts';
      readonly format: 'cjs';
      readonly target: 'node20';
      readonly sourcemap: 'inline';
      readonly sourcefile: string;
      readonly logLevel: 'silent';
    },
  ) => { readonly code: string };
}

interface CommonJsModule {
  _compile(code: string, file: string): void;
}

type Loader = (module: CommonJsModule, file: string) => void;

/** Whether this version of Node.js removes types. */
const nodeRemovesTypes = (): boolean => {
  const { typescript } = process.features as { readonly typescript?: unknown };
  return typescript !== undefined && typescript !== false;
};

/** Imports a module in TypeScript. @throws Error when it cannot be compiled, or when nothing here compiles TypeScript */
export async function importTypeScript(file: string, query: string, esbuild?: string): Promise<unknown> {
  if (esbuild === undefined) {
    if (nodeRemovesTypes()) return import(query);
    throw new Error(
      'TypeScript needs esbuild or Node.js 22.18 or later; compile the module and name the result index.mjs.',
    );
  }
  const require = createRequire(file);
  const { transformSync } = require(esbuild) as Esbuild;
  const compile: Loader = (module, path) => {
    const { code } = transformSync(readFileSync(path, 'utf8'), {
      loader: 'ts',
      format: 'cjs',
      target: 'node20',
      sourcemap: 'inline',
      sourcefile: path,
      logLevel: 'silent',
    });
    module._compile(code, path);
  };
  // Deprecated for its speed only, and there is no other hook that Node.js 20 runs in the thread itself.
  const { extensions } = require as unknown as { readonly extensions: Record<string, Loader> };
  extensions['.ts'] = compile;
  forget(require.cache, file);
  return require(file);
}

/** Where several versions share a thread, an earlier one must not be found again. */
function forget(cache: NodeJS.Dict<unknown>, file: string): void {
  const folder = file.slice(0, Math.max(file.lastIndexOf('/'), file.lastIndexOf('\\')) + 1);
  for (const path of Object.keys(cache)) {
    if (path.startsWith(folder) && !path.includes('node_modules')) Reflect.deleteProperty(cache, path);
  }
}
