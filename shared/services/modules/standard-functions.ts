/** The functions that every program offers to modules. */
import type { Value } from '../value';
import type { Principal } from '../../principal';
import { Fault, FAULT } from '../fault';
import type { Services } from '../services';
import { PortFunctions } from './port-functions';

export interface StandardFunctionsOptions {
  readonly services: Pick<Services, 'call'>;
  /** The names of the groups that a principal is in. */
  readonly groups: (principal: Principal) => Promise<readonly string[]>;
}

/** `call` and `groups`. A program registers further functions beside them. */
export function standardFunctions({ services, groups }: StandardFunctionsOptions): PortFunctions {
  const functions = new PortFunctions();
  functions.register('call', ({ depth, ...caller }, [method, args = []]) => {
    if (typeof method !== 'string' || !Array.isArray(args)) {
      throw new Fault(FAULT.invalidParams, 'call takes the name of a method and an array of arguments.');
    }
    const { principal, sender, session, clientAddress, trace, isStored, signal, log } = caller;
    return services.call(method, args as readonly Value[], {
      principal,
      ...(sender === undefined ? {} : { sender }),
      ...(session === undefined ? {} : { session }),
      ...(clientAddress === undefined ? {} : { clientAddress }),
      ...(isStored === undefined ? {} : { isStored }),
      depth: depth + 1,
      way: 'method',
      trace,
      signal,
      log,
    });
  });
  functions.register('groups', ({ principal }) => groups(principal));
  return functions;
}
