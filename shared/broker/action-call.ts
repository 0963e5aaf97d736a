/** Calls of the actions of members and messages. */
import { type ActionCall, splitCategoryId } from '../occi';
import type { RpcOptions } from '../rpc';
import type { Layer, Layers } from './layer-definition';
import { RPC_TIMEOUT_MS } from './limits';

/** Splits `start_l1` into its verb and layer; the layer is undefined for an action without one. */
export function verbOf(
  { action }: Pick<ActionCall, 'action'>,
  layers: Layers,
): { readonly verb: string; readonly layer: Layer | undefined } {
  const term = splitCategoryId(action)?.term ?? '';
  const at = term.lastIndexOf('_');
  const layer = layers.parse(term.slice(at + 1));
  return layer === undefined ? { verb: term, layer } : { verb: term.slice(0, at), layer };
}

/** An action that the companion carries out acts for the caller of the action, and within the caller's deadline. */
export const rpcOptions = ({ principal, signal, trace }: ActionCall): RpcOptions => ({
  principal,
  deadlineMs: RPC_TIMEOUT_MS,
  signal,
  ...(trace === undefined ? {} : { trace }),
});
