/** Service modules: methods that members call remotely. */
export { type Call, type Codec, Codecs } from './codec';
export { Fault, FAULT } from './fault';
export type { MethodFlags, ModuleSource, ServiceModule } from './module';
export { Services } from './services';
export { codecsOf, standardServices } from './standard';
