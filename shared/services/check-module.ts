/** What a module must have, and the names that modules and methods can have. */
import type { ServiceMethod, ServiceModule } from './module';

/** Names of modules and methods, which a folder can have; a leading underscore or a dot is not allowed. */
const NAME = /^[A-Za-z][A-Za-z0-9_]{0,254}$/;

/** A prefix that JSON-RPC reserves for itself (JSON-RPC 2.0 §4.1). */
const RESERVED_NAME = 'rpc';

/** @throws Error that says what is wrong with a module */
export function checkModule({ name, methods }: ServiceModule): void {
  if (!NAME.test(name) || name.toLowerCase() === RESERVED_NAME) {
    throw new Error(`${JSON.stringify(name)} cannot be a module's name.`);
  }
  for (const [method, described] of Object.entries(methods)) checkMethod(`${name}.${method}`, method, described);
}

/** Whether a text can be the name of a module or of a method. */
export const isServiceName = (text: string): boolean => NAME.test(text);

function checkMethod(fullName: string, name: string, { documentation, signatures }: ServiceMethod): void {
  if (!NAME.test(name)) throw new Error(`${JSON.stringify(fullName)} cannot be a method's name.`);
  if (documentation.trim() === '') throw new Error(`${fullName} has no documentation; remote callers need it.`);
  if (signatures.length === 0 || signatures.some((types) => types.length === 0)) {
    throw new Error(`${fullName} needs at least one signature, and each a type of result.`);
  }
}
