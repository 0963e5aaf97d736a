/** Bundles the programs: everything but native modules in one file each (DESIGN decision 15). */
import { existsSync } from 'node:fs';
import { build } from 'esbuild';

/** Prebuilt binaries stay in node_modules. */
const NATIVE = ['zeromq', '@photostructure/sqlite'];

/** Bundle in `dist` to its source. A part that a checkout leaves out (a benchmark, a main) is left out here too. */
const PROGRAMS = {
  'local/main': 'emulator/main.ts',
  'local/backup': 'emulator/backup.ts',
  'local/demo': 'emulator/demo.ts',
  'bench/main': 'test/bench/main.ts',
  'functions/main': 'functions/main.ts',
  'companion/main': 'companion/main.ts',
};

await build({
  entryPoints: Object.fromEntries(Object.entries(PROGRAMS).filter(([, source]) => existsSync(source))),
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  sourcemap: true,
  external: NATIVE,
  logLevel: 'warning',
});
