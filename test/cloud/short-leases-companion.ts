/** The companion's program, for tests that wait until Pub/Sub offers the messages of a stopped consumer again. */
import { runCompanion } from '../../companion/program';
import { SHORT_LEASES } from './short-leases';

void runCompanion({ limits: { bus: SHORT_LEASES } });
