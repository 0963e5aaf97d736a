/** The companion's program with short leases, for tests that wait until Pub/Sub redelivers messages of a stopped consumer. */
import { runCompanion } from '../../companion/program';
import { SHORT_LEASES } from './short-leases';

void runCompanion({ limits: { bus: SHORT_LEASES } });
