/** Service modules: methods that members call remotely. */
export { answerOf, type Call, parseCall } from './call';
export { Fault, FAULT } from './fault';
export type { ServiceModule } from './module';
export { Services } from './services';
export { standardServices } from './standard';
