/** The protocol between a program and the supervisor that restarts it. */

/** Exit code of a program that wants to be started again (`EX_TEMPFAIL` of sysexits.h). */
export const RESTART_EXIT_CODE = 75;

/** Deaths that a program was started again after, by reason. */
export type Restarts = Readonly<Record<string, number>>;

/** Environment variable with the {@link Restarts} as JSON. Not a setting: only a supervisor writes it. */
export const RESTARTS_VARIABLE = 'SUPERVISOR_RESTARTS';

/** Takes the count out of the environment, so that no child of this program has it. */
export function takeRestarts(environment: NodeJS.ProcessEnv): Restarts {
  const { SUPERVISOR_RESTARTS: text } = environment;
  delete environment.SUPERVISOR_RESTARTS;
  return text === undefined ? {} : (JSON.parse(text) as Restarts);
}

/** Environment variable that says that the program was ready before: its data are there, or have been taken away. */
export const HAS_DATA_VARIABLE = 'SUPERVISOR_HAS_DATA';

/** Whether this is another start of a program that was ready before. */
export function takeHasData(environment: NodeJS.ProcessEnv): boolean {
  const isSet = environment.SUPERVISOR_HAS_DATA === '1';
  delete environment.SUPERVISOR_HAS_DATA;
  return isSet;
}
