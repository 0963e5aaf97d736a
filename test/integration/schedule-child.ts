/** A process that runs the schedules of its parent's store. Arguments: the limits as JSON, and `hangs`. */
import type { RunnerLimits } from '@cmbs/shared/services/builtin';
import { storeOfParent } from './modules/shared-store';
import { runSchedules } from './schedule-process';

runSchedules(storeOfParent(), JSON.parse(process.argv[2] ?? '{}') as Partial<RunnerLimits>);
