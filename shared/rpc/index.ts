/** RPC from functions to the companion: its interface. */
export {
  DEADLINE_HEADER,
  type Rpc,
  RPC_ARGUMENTS,
  RPC_PATH,
  type RpcArguments,
  type RpcMethod,
  rpcRequest,
  type RpcResult,
  STANDBY,
} from './rpc';
export type { TokenExpectation, TokenVerifier } from './tokens';
