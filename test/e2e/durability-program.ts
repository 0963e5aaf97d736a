/**
 * The local stack with an extra module, `probe`, whose effects a test can count and whose calls it can hold up.
 * Each call writes one line to a file beside `CMBS_DATA_DIR`, `<directory>.calls`, which survives the process.
 */
import { appendFileSync } from 'node:fs';
import { runProgram } from '@cmbs/emulator/program';
import type { ServiceMethod } from '../../shared/services/module';
import type { ServiceModule, Value } from '@cmbs/shared/services';

function note(what: string, args: readonly Value[]): void {
  const line = `${what} ${JSON.stringify(args[0])}`;
  appendFileSync(`${process.env.CMBS_DATA_DIR ?? ''}.calls`, `${line}\n`);
  process.stdout.write(`${line}\n`);
}

const count: ServiceMethod = {
  documentation: 'Notes its argument, and returns it.',
  signatures: [['string', 'string']],
  call: (_context, args) => {
    note('counted', args);
    return args[0] ?? null;
  },
};

const hold: ServiceMethod = {
  documentation: 'Notes its argument, and never returns.',
  signatures: [['string', 'string']],
  call: (_context, args) => {
    note('held', args);
    return new Promise<Value>(() => undefined);
  },
};

const probe: ServiceModule = { name: 'probe', methods: { count, hold } };

runProgram(process.argv.slice(2), [probe]);
