/** The protocol between a program and the supervisor that restarts it. */

/** Exit code of a program that asks to be restarted (`EX_TEMPFAIL` of sysexits.h). */
export const RESTART_EXIT_CODE = 75;

/** Restarts of a program, by reason. */
export type Restarts = Readonly<Record<string, number>>;

/** Environment variable with the {@link Restarts} as JSON. Not a setting: only a supervisor writes it. */
export const RESTARTS_VARIABLE = 'SUPERVISOR_RESTARTS';

/** Reads the count and removes it from the environment, so that no child of this program inherits it. */
export function takeRestarts(environment: NodeJS.ProcessEnv): Restarts {
  const { SUPERVISOR_RESTARTS: text } = environment;
  delete environment.SUPERVISOR_RESTARTS;
  return text === undefined ? {} : (JSON.parse(text) as Restarts);
}

/** Environment variable: the program was ready before, so its data exist, or have been removed. */
export const HAS_DATA_VARIABLE = 'SUPERVISOR_HAS_DATA';

/** Whether this program was ready before; removes the variable from the environment. */
export function takeHasData(environment: NodeJS.ProcessEnv): boolean {
  const isSet = environment.SUPERVISOR_HAS_DATA === '1';
  delete environment.SUPERVISOR_HAS_DATA;
  return isSet;
}
