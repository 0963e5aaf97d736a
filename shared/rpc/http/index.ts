/** RPC over HTTP. */
export { httpRpc } from './http-rpc';
