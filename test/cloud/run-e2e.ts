/**
 * Before each end-to-end suite that runs on the emulators as well: its deployments are the cloud's parts then.
 */
import { runTestsOn } from '../e2e/engine';
import { cloudEngine } from './deployment';
import { emulatorsForFile } from './support';

jest.mock('@cmbs/shared/limits', () => ({
  ...jest.requireActual<object>('@cmbs/shared/limits'),
  ...jest.requireActual<object>('./patient-limits'),
}));

const hosts = emulatorsForFile();
if (hosts !== undefined) runTestsOn(() => cloudEngine(hosts).engine);
