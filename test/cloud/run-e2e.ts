/** Runs before each end-to-end suite on the emulators, so that its deployments consist of the cloud's parts. */
import { runTestsOn } from '../e2e/engine';
import { cloudEngine } from './deployment';
import { PATIENT_LIMITS } from './patient-limits';
import { emulatorsForFile } from './support';

const hosts = emulatorsForFile();
if (hosts !== undefined) runTestsOn(() => cloudEngine(hosts, {}, PATIENT_LIMITS).engine);
