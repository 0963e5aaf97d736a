/** Service modules: methods that members call remotely. */
export { CallRoom, ResultRoom } from './call-room';
export { DISCOVER, outcomeOf, outcomesOf } from './calls';
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
export { KeyValues, type KeyValuesOptions } from './kv/key-values';
export type { CallWay, MethodFlags, ModuleSource, ServiceModule } from './module';
export { MULTICALL } from './multicall';
export type { PortCaller, PortFunction, PortFunctionTable } from './port-function';
export type { Outcome, RpcProtocol, RpcRequest } from './protocol';
export { type CallContext, type ModuleDescription, Services } from './services';
export { codecsOf, type StandardOptions, standardServices } from './standard';
export { MAX_MULTICALL_CALLS, type Session, type Sessions } from './system';
export { asType, exactOf, jsonOf, plainDecimal, type Value, wholeOf } from './value';
