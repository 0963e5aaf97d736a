/** Names and forms of `system.multicall`, which the module and the codec of XML-RPC share. */
import type { Fault } from './fault';
import type { Value } from './value';

export const MULTICALL = 'system.multicall';

/** A fault as an entry of the answer. The entry of a result is an array with the result. */
export const faultEntry = ({ code, message }: Fault): Value => ({ faultCode: code, faultString: message });
