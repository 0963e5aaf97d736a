/** The engine of the deployments in end-to-end tests: the local stack, unless a set-up file chose another. */
import type { DeliveryLimits } from '@cmbs/companion';
import { ANY_PORT } from '@cmbs/emulator/ports';
import { startStack } from '@cmbs/emulator/stack';
import { describeError, type Clock, type Log, type LogFields } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import { describeUnless, itUnless } from '../skipping';

export interface Running {
  readonly url: string;
  /** URLs of the metrics of its parts; only `url` when absent. */
  readonly metrics?: readonly string[];
  /** Credentials that each request of a test carries; none when absent. */
  readonly headers?: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

export interface RunOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly log: Log;
  readonly clock?: Clock | undefined;
  readonly delivery?: Partial<DeliveryLimits> | undefined;
}

/** Runs a deployment on data that stay after it is closed. */
export type Engine = (options: RunOptions) => Promise<Running>;

// Set-up files and tests load this module separately.
const chosen = globalThis as {
  cmbsTestEngine?: () => Engine;
  cmbsTestClosing?: (engine: Engine) => Engine;
};

/** Chooses the engine of each deployment. */
export function runTestsOn(engine: () => Engine): void {
  chosen.cmbsTestEngine = engine;
}

/** Makes each deployment a closed one, whichever engine it has. */
export function closeDeploymentsWith(closing: (engine: Engine) => Engine): void {
  chosen.cmbsTestClosing = closing;
}

export const isLocal = (): boolean => chosen.cmbsTestEngine === undefined;

const elsewhere = (): string | undefined =>
  isLocal() ? undefined : 'only the local stack has what this tests, and its own run tests it';

/** `test`, for properties that only the local stack has, such as its limits and its speed. */
export const localTest = (name: string, run: () => Promise<void>, timeoutMs?: number): void =>
  itUnless(elsewhere())(name, run, timeoutMs);
export const describeLocal = (name: string, tests: () => void): void => describeUnless(elsewhere())(name, tests);

/** Tests that closed deployments do not pass, with the reasons. */
const OPEN_ONLY = {
  'own user':
    'a deletion of everything includes the own user, which only administrators may delete; the open run tests it',
} as const;

/** `test`, for a property that only open deployments have. */
export const openTest = (why: keyof typeof OPEN_ONLY, name: string, run: () => Promise<void>): void =>
  itUnless(chosen.cmbsTestClosing === undefined ? undefined : OPEN_ONLY[why])(name, run);

/** @param own the engine of a test that brings its own */
export function engineFor(directory: string, own?: Engine): Engine {
  const engine = own ?? chosen.cmbsTestEngine?.() ?? localEngine(directory);
  return chosen.cmbsTestClosing?.(engine) ?? engine;
}

function localEngine(directory: string): Engine {
  return ({ env, log, clock, delivery = {} }) => {
    const config = readConfig({ PORT: '0', CMBS_DATA_DIR: directory, CMBS_LOG: 'silent', ...ANY_PORT, ...env });
    return startStack({ config, log, delivery, ...(clock === undefined ? {} : { clock }) });
  };
}

/** A line that the product logged, as a failing test shows it. */
export function faultOf(message: string, fields: LogFields = {}): string {
  const plain = (_name: string, value: unknown): unknown =>
    value instanceof Error ? describeError(value) : value;
  return `${message} ${JSON.stringify(fields, plain)}`;
}
