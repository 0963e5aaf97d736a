/** A process that runs the schedules of a project on the Firestore emulator. Arguments: limits, host and project. */
import { silentLog, systemClock } from '@cmbs/shared';
import type { RunnerLimits } from '@cmbs/shared/services/builtin';
import { openFirestoreStore } from '@cmbs/shared/store/firestore';
import { runSchedules } from '../integration/schedule-process';

const [, , limits = '{}', emulatorHost = '', projectId = ''] = process.argv;
const store = openFirestoreStore({ clock: systemClock, log: silentLog, emulatorHost, projectId });
runSchedules(store, JSON.parse(limits) as Partial<RunnerLimits>);
