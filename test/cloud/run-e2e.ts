/**
 * Before each end-to-end suite that also runs on the emulators: its deployments are the cloud's parts then. Where there
 * are no emulators, its tests are reported as skipped, each by its name.
 */
import { runTestsOn } from '../e2e/engine';
import { cloudEngine } from './deployment';
import { emulatorHosts, skipsWithoutEmulators } from './support';

const hosts = emulatorHosts();
if (hosts === undefined) skipsWithoutEmulators();
else runTestsOn(() => cloudEngine(hosts).engine);
