/** RPC from functions to the companion: its interface, methods and schemas. Transports have doors of their own. */
export {
  DEADLINE_HEADER,
  type Rpc,
  type RpcOptions,
  RPC_ARGUMENTS,
  RPC_PATH,
  type RpcArguments,
  type RpcCaller,
  type RpcHandler,
  type RpcMethod,
  rpcRequest,
  type RpcResult,
  STANDBY,
} from './rpc';
export type { IdentityTokens, TokenExpectation, TokenVerifier } from './tokens';
