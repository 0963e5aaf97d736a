/** The built-in modules of a program, and what the program offers to the modules of a directory. */
import { ownerSinceOf } from '../../access';
import type { Clock, NewId } from '../../clock';
import type { Authorize, Principal } from '../../principal';
import type { Store } from '../../store';
import { KeyValues } from '../kv/key-values';
import type { PortFunctionTable } from '../port-function';
import { Schedules } from '../schedules/schedules';
import type { Services } from '../services';
import { aclModule } from './acl';
import { discoveryModule, type DiscoveryPort, type ServiceSource } from './discovery';
import { ServiceRegistry } from './discovery/registry';
import { fileModule } from './file';
import type { GovernedFiles } from './files/governed-files';
import { discoveryFunctions, domainFunctions, fileFunctions, scheduleFunctions } from './functions';
import { groupModule } from './group';
import { keyValueModule } from './kv';
import { keyValueFunctions } from './kv-functions';
import { messageModule } from './message';
import { type DomainPorts, LatePorts } from './ports';
import { scheduleModule } from './schedule';
import { tokenModule } from './token';

export interface BuiltInParts {
  readonly services: Services;
  readonly store: Store;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly authorize: Authorize;
  readonly isAdministrator: (principal: Principal) => Promise<boolean>;
  /** The module `file` refuses without them. */
  readonly files?: GovernedFiles | undefined;
}

/** The parts of the domain that the modules use. */
export interface DomainParts {
  readonly ports: DomainPorts;
  /** The members of the deployment, as services. */
  readonly members: ServiceSource;
}

export class BuiltInServices {
  /** For modules of a directory. */
  readonly functions: PortFunctionTable;
  readonly registry: ServiceRegistry;
  readonly #ports = new LatePorts();
  #members: ServiceSource | undefined;

  /** Registers the modules. Those that use the domain are refused until {@link open}. */
  constructor(parts: BuiltInParts) {
    const { services, store, clock, newId, authorize, isAdministrator, files } = parts;
    this.registry = new ServiceRegistry({ store, clock, isAdministrator });
    const discovery: DiscoveryPort = { registry: this.registry, members: () => this.#members };
    const keyValues = new KeyValues({ store, newId, clock });
    const schedules = new Schedules({
      store,
      clock,
      newId,
      authorize,
      services,
      isAdministrator,
      ownerSince: (principal) => ownerSinceOf(store, principal),
    });
    const ports = this.#ports;
    const modules = [
      messageModule(ports.messaging),
      aclModule(ports, services),
      groupModule(ports.entities),
      tokenModule(ports.entities),
      fileModule(files),
      discoveryModule(discovery),
      keyValueModule({ keyValues, isAdministrator }),
      scheduleModule(schedules),
    ];
    for (const module of modules) services.register(module);
    this.functions = {
      ...domainFunctions(ports),
      ...keyValueFunctions(keyValues),
      ...fileFunctions(files),
      ...discoveryFunctions(services),
      ...scheduleFunctions(services),
    };
  }

  /** Gives the modules the domain, when it is assembled. */
  open({ ports, members }: DomainParts): void {
    this.#ports.open(ports);
    this.#members = members;
  }
}
