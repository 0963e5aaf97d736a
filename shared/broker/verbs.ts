/** The actions of members and messages: a verb and, for most, a layer. */
import { type ActionCall, splitCategoryId } from '../occi';
import type { Layer, Layers } from './layer-definition';

/** Splits `start_l1` into its verb and layer. */
export function verbOf(
  call: Pick<ActionCall, 'action'>,
  layers: Layers,
): {
  readonly verb: string;
  readonly layer: Layer | undefined;
} {
  const term = splitCategoryId(call.action)?.term ?? '';
  const at = term.lastIndexOf('_');
  const layer = layers.parse(term.slice(at + 1));
  return layer === undefined ? { verb: term, layer } : { verb: term.slice(0, at), layer };
}
