import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { keyValueContract } from '../contract/kv-contract';
import { bundleProgram, type BundledProgram } from '../integration/bundled-program';
import { PATIENCE_MS } from '../patience';
import { describeOnEmulators, uniqueProject } from './support';
import { openTemporaryFirestore } from './temporary-firestore';

describeOnEmulators('Firestore', ({ firestore }) => {
  keyValueContract('Firestore', () => openTemporaryFirestore(firestore));
});

describeOnEmulators('two processes', ({ firestore }) => {
  let program: BundledProgram;

  beforeAll(() => {
    program = bundleProgram('test/integration/kv-child.ts');
  });
  afterAll(() => program.remove());

  it('lose no increment of one counter', async () => {
    const project = uniqueProject();
    const run = async (): Promise<readonly number[]> => {
      const { stdout } = await promisify(execFile)(
        process.execPath,
        [program.path, 'firestore', firestore, project, '50'],
        { timeout: PATIENCE_MS },
      );
      return stdout
        .trim()
        .split('\n')
        .map((line) => Number(line.split(' ')[1]));
    };
    const sums = (await Promise.all([run(), run()])).flat();
    expect([...sums].sort((one, other) => one - other)).toEqual(Array.from({ length: 100 }, (_, at) => at + 1));
  });
});
