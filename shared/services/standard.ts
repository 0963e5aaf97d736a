/** The services and codecs of every program. */
import { type Codec, Codecs } from './codec';
import { jsonRpc } from './codecs/json-rpc';
import { echo } from './echo';
import { Services, type ServicesOptions } from './services';
import { systemModule } from './system';

/** A registry with the modules of every deployment: `system` and `echo`. */
export function standardServices(options: ServicesOptions): Services {
  const services = new Services(options);
  services.register(systemModule(services));
  services.register(echo);
  return services;
}

/** The codecs of a program: JSON-RPC and those that it adds. @throws Error for two codecs with one name */
export const codecsOf = (additional: readonly Codec[] = []): Codecs => new Codecs([jsonRpc, ...additional]);
