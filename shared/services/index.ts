/** Service modules: methods that members call remotely. */
export { type Call, type Codec, Codecs } from './codec';
export {
  isNotification,
  isReservedMethod,
  type JsonRpcOptions,
  jsonRpcProtocol,
} from './codecs/json-rpc-protocol';
export { checkDeclared, decodeXml, forbiddenIn } from './codecs/xml-encoding';
export { xmlRpc, type XmlRpcOptions, xmlRpcProtocol } from './codecs/xml-rpc';
export { Fault, FAULT, type FaultOptions, isModuleCode, RESERVED_CODES } from './fault';
export type { MethodFlags, ModuleSource, ServiceModule } from './module';
export type { Outcome, RpcProtocol, RpcRequest } from './protocol';
export { Services } from './services';
export { codecsOf, standardServices } from './standard';
export { asType, exactOf, jsonOf, plainDecimal, type Value, wholeOf } from './value';
