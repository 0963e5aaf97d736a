/** Where the code of a module runs: a worker thread of its own, or the main thread under a debugger. */
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { ModuleRuntime } from './runtime';

/** Megabytes of the heap's young part, and of the stack, of a worker. */
const YOUNG_MB = 16;
const STACK_MB = 4;

export interface ModuleThread {
  readonly port: MessagePort;
  /** Resolves with the reason when the thread has ended. */
  readonly ended: Promise<string>;
  terminate(): Promise<void>;
}

export interface WorkerOptions {
  /** Name of the module, for debuggers and for reports of the operating system. */
  readonly name: string;
  /** Absolute path of the built `worker.ts`. */
  readonly file: string;
  /** Megabytes of the JavaScript heap. Buffers are not counted. */
  readonly heapMb: number;
  /** Called with each line that the module prints. */
  readonly onLine: (line: string) => void;
}

export function workerThread({ name, file, heapMb, onLine }: WorkerOptions): ModuleThread {
  const worker = new Worker(file, {
    name: `module ${name}`,
    // Options of this process, such as the size of its heap, are not for workers.
    execArgv: [],
    stdout: true,
    stderr: true,
    resourceLimits: { maxOldGenerationSizeMb: heapMb, maxYoungGenerationSizeMb: YOUNG_MB, stackSizeMb: STACK_MB },
  });
  for (const output of [worker.stdout, worker.stderr]) eachLine(output, onLine);
  const { port1, port2 } = new MessageChannel();
  worker.postMessage({ port: port2 }, [port2]);
  let cause: string | undefined;
  worker.on('error', (error: unknown) => {
    const { code } = error as { readonly code?: unknown };
    cause = code === 'ERR_WORKER_OUT_OF_MEMORY' ? `it used more than ${heapMb} MB of heap` : String(error);
  });
  const ended = new Promise<string>((resolve) => {
    worker.once('exit', (code) => {
      port1.close();
      resolve(cause ?? `it ended with exit code ${code}`);
    });
  });
  // A program may end while modules wait for calls; `terminate` ends them.
  worker.unref();
  return {
    port: port1,
    ended,
    terminate: async () => {
      await worker.terminate();
    },
  };
}

/** Debuggers do not see the workers of Node.js 20. */
export function mainThread(): ModuleThread {
  const { port1, port2 } = new MessageChannel();
  new ModuleRuntime(port2);
  port2.unref();
  let close = (): void => undefined;
  const ended = new Promise<string>((resolve) => {
    close = () => {
      port1.close();
      // Not by the port's event, for which nothing keeps the process alive.
      resolve('it was closed');
    };
  });
  return { port: port1, ended, terminate: async () => close() };
}

function eachLine(output: Readable, onLine: (line: string) => void): void {
  createInterface({ input: output, crlfDelay: Infinity }).on('line', onLine);
}
