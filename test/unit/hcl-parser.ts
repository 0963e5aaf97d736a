/**
 * The parser of Terraform's language. It is a Go program in WebAssembly, whose runtime keeps timers for minutes
 * after its last call. In a worker thread, the parser can be ended.
 */
import { Worker } from 'node:worker_threads';
import type { TFExpressionSyntaxTree as Ast } from '@cdktf/hcl2json';

const THREAD = `
  const { parentPort, workerData } = require('node:worker_threads');
  const parser = require(workerData);
  parentPort.on('message', ({ id, name, args }) => {
    parser[name](...args).then(
      (value) => parentPort.postMessage({ id, value }),
      (error) => parentPort.postMessage({ id, problem: error.message }),
    );
  });
`;

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly problem?: string;
}

export class HclParser {
  readonly #thread = new Worker(THREAD, { eval: true, workerData: require.resolve('@cdktf/hcl2json') });
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #calls = 0;

  constructor() {
    this.#thread.on('message', (answer: Answer) => this.#waiting.get(answer.id)?.(answer));
  }

  /** Blocks of a file: type, then labels, then the bodies. */
  async parse(name: string, text: string): Promise<Readonly<Record<string, unknown>>> {
    return (await this.#call('parse', name, text)) as Readonly<Record<string, unknown>>;
  }

  async expression(text: string): Promise<Ast.ExpressionType> {
    const tree = await this.#call('getExpressionAst', 'expression', text);
    if (tree === null) throw new Error(`This is no expression: ${text}`);
    return tree as Ast.ExpressionType;
  }

  async close(): Promise<void> {
    await this.#thread.terminate();
  }

  async #call(name: string, ...args: readonly string[]): Promise<unknown> {
    const id = ++this.#calls;
    const { value, problem } = await new Promise<Answer>((resolve) => {
      this.#waiting.set(id, resolve);
      this.#thread.postMessage({ id, name, args });
    });
    this.#waiting.delete(id);
    if (problem !== undefined) throw new Error(problem);
    return value;
  }
}
