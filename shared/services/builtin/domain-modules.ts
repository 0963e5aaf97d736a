/** The built-in modules that use the domain, for every program that runs methods. */
import type { ServiceModule } from '../module';
import type { Services } from '../services';
import { aclModule } from './acl';
import { groupModule } from './group';
import { messageModule } from './message';
import type { DomainPorts } from './ports';
import { tokenModule } from './token';

/** The modules `message`, `acl`, `group` and `token`. */
export const domainModules = (
  ports: DomainPorts,
  services: Pick<Services, 'describe'>,
): readonly ServiceModule[] => [
  messageModule(ports.messaging),
  aclModule(ports, services),
  groupModule(ports.entities),
  tokenModule(ports.entities),
];
