/** RPC inside one process. */
export { inProcessRpc } from './in-process-rpc';
