/** The program of a worker thread, which is built by itself (`build.mjs`). It gets its port with the first message. */
import { type MessagePort, parentPort } from 'node:worker_threads';
import { ModuleRuntime } from './runtime';

// Stacks name the lines of the sources.
process.setSourceMapsEnabled(true);

// A module never sees the port: the calls on it are bound to their callers.
parentPort?.once('message', ({ port }: { readonly port: MessagePort }) => {
  const runtime = new ModuleRuntime(port);
  const failed = (what: string) => (thrown: unknown) => runtime.log('error', what, { cause: thrown });
  process.on('unhandledRejection', failed('a promise of the module was rejected, and nothing handled it'));
  process.on('uncaughtException', failed('an error of the module was not caught'));
});
