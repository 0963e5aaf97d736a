/** The container's entry point: a companion without additions. */
import { runCompanion } from './program';

void runCompanion();
