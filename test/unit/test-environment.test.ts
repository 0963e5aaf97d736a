/** The environment of the tests themselves (`test/run/environment.cjs`). */
import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';

const SCRIPT = `
  const Environment = require('./test/run/environment.cjs');
  const { AsyncLocalStorage } = require('node:async_hooks');
  const config = { globalConfig: {}, projectConfig: { globals: {}, testEnvironmentOptions: {}, fakeTimers: {} } };
  const environment = new Environment(config, { console, docblockPragmas: {}, testPath: '' });
  const storage = new AsyncLocalStorage();
  storage.run('in use', async () => {
    const before = storage.getStore();
    await environment.teardown();
    process.stdout.write(JSON.stringify([before, storage.getStore() ?? 'free']));
  });
`;

it('the storage of a suite is free when its environment is torn down', () => {
  const root = resolve(__dirname, '../..');
  const shown = execFileSync(process.execPath, ['-e', SCRIPT], { cwd: root, encoding: 'utf8' });
  expect(JSON.parse(shown)).toEqual(['in use', 'free']);
});
