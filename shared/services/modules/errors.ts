/** Errors between threads. */
import { inspect } from 'node:util';
import { describeError, CmbsError } from '../../errors';
import type { Json } from '../../json';
import { Fault, FAULT, isModuleCode } from '../fault';
import { MAX_LINE_CHARS } from './limits';
import type { PortError } from './protocol';
import { fromPort, toPort } from './values';

/** An error of a module, with its stack. A log writes the stack even where it writes other errors in short. */
export class ModuleError extends Error {
  override readonly name = 'ModuleError';

  /** @param stack of the module, with its own files and lines */
  constructor(text: string, stack?: string, options?: ErrorOptions) {
    super(text, options);
    if (stack !== undefined) this.stack = stack;
  }

  override toString(): string {
    return this.stack ?? this.message;
  }
}

/** The form of a thrown value that a port can copy. A module can throw anything, also what fails when it is looked at. */
export function toPortError(thrown: unknown): PortError {
  try {
    const fault = faultIn(thrown);
    if (fault !== undefined) return fault;
    if (isError(thrown)) return { kind: 'error', text: shortened(String(thrown)), stack: describeError(thrown) };
    return { kind: 'error', text: `It threw a value that is not an error: ${shortened(inspect(thrown))}` };
  } catch {
    return { kind: 'error', text: 'It threw a value that cannot be shown.' };
  }
}

/**
 * Faults of the program, which a module passes on, of `context.Fault`, and of a class of its own that a module may have:
 * the last may have no code that is reserved.
 */
function faultIn(thrown: unknown): PortError | undefined {
  if (thrown instanceof CmbsError && thrown.code !== 'internal') {
    return { kind: 'fault', code: FAULT.refused, text: thrown.message, data: { code: thrown.code } };
  }
  if (!isError(thrown) || thrown.name !== 'Fault') return undefined;
  const { code, message, data } = thrown as Error & { readonly code?: unknown; readonly data?: unknown };
  if (typeof code !== 'number' || !Number.isInteger(code) || Math.abs(code) > 0x7fff_ffff) return undefined;
  if (!(thrown instanceof Fault) && !isModuleCode(code)) return undefined;
  return {
    kind: 'fault',
    code,
    text: message,
    ...(data === undefined ? {} : { data: toPort(data) as Json }),
  };
}

/** `instanceof` does not know errors of another context. */
const isError = (thrown: unknown): thrown is Error =>
  thrown instanceof Error || Object.prototype.toString.call(thrown) === '[object Error]';

/** The error that another thread sent. */
export function fromPortError(error: PortError): Fault | ModuleError {
  return error.kind === 'fault'
    ? new Fault(error.code, error.text, error.data === undefined ? undefined : (fromPort(error.data) as Json))
    : new ModuleError(error.text, error.stack);
}

const shortened = (text: string): string =>
  text.length <= MAX_LINE_CHARS ? text : `${text.slice(0, MAX_LINE_CHARS)}…`;
