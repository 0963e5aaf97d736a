/** The services and codecs of every program. */
import { type Log, silentLog } from '../log';
import { type Codec, Codecs } from './codec';
import { jsonRpc } from './codecs/json-rpc';
import { xmlRpc } from './codecs/xml-rpc';
import { echo } from './echo';
import { Services, type ServicesOptions } from './services';
import { type Sessions, systemModule } from './system';

export interface StandardOptions extends ServicesOptions {
  /** Where callers log in by `system.auth`; the method is refused when absent. */
  readonly sessions?: Sessions | undefined;
  /** Gets a warning where faults show what they hide otherwise. Silent when absent. */
  readonly log?: Log;
}

/** A registry with the modules of every deployment: `system` and `echo`. */
export function standardServices({ sessions, log = silentLog, ...options }: StandardOptions): Services {
  if (options.debugFaults === true) {
    log.warn('faults show stacks, principals and addresses to callers: CMBS_DEBUG_FAULTS=yes');
  }
  const services = new Services(options);
  services.register(systemModule(services, sessions));
  services.register(echo);
  return services;
}

/** The codecs of a program: JSON-RPC, XML-RPC and those that it adds. @throws Error for two codecs with one name */
export const codecsOf = (additional: readonly Codec[] = []): Codecs =>
  new Codecs([jsonRpc, xmlRpc, ...additional]);
