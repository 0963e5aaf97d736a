/** A supervisor that gives up after three failed starts. Its arguments name the program. */
import { Supervisor } from '@cmbs/emulator/supervisor';
import { terminalLog } from '@cmbs/emulator/log';

new Supervisor({
  args: process.argv.slice(2),
  environment: process.env,
  log: terminalLog('warn', (line) => process.stdout.write(line)),
  limits: { failedStarts: 3, firstPauseMs: 10, maxPauseMs: 20 },
})
  .run()
  .then(
    ({ code }) => (process.exitCode = code ?? 1),
    (error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
      process.exitCode = 2;
    },
  );
