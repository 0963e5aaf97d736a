/** Bundles the programs: everything but native modules in one file each (DESIGN decision 15). */
import { build } from 'esbuild';

/** Prebuilt binaries stay in node_modules. */
const NATIVE = ['zeromq', '@photostructure/sqlite'];

const programs = {
  'local/main': 'emulator/main.ts',
  'local/backup': 'emulator/backup.ts',
};

await build({
  entryPoints: programs,
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  sourcemap: true,
  external: NATIVE,
  logLevel: 'warning',
});
