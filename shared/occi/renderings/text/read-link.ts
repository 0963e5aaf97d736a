/** Reads a `Link` item (GFD.185 §3.5.2, GFD.229 §3.6). */
import type { Json } from '../../../json';
import { CORE_ID, CORE_SOURCE, CORE_TARGET } from '../../model';
import type { LinkInput } from '../../payload';
import { checkMemberName, wordsOf, type Mutable } from '../body';
import { readName } from './names';
import type { TextReader } from './reader';

/**
 * @returns undefined for a reference to an action: an entity shows its actions as links, so a client that writes back what
 *   it read sends them too (GFD.185 §3.5.3)
 * @throws CmbsError `bad_request`
 */
export function readLink(reader: TextReader): LinkInput | undefined {
  const target = reader.reference();
  const attributes: Record<string, Json> = {};
  const tokens = new Map<string, string>();
  const link: Mutable<LinkInput> = { target, categories: [], attributes, tokens };
  while (reader.nextParameter()) {
    const name = checkMemberName(readName(reader.name()));
    switch (name.toLowerCase()) {
      case 'rel': {
        const related = wordsOf(reader.word());
        if (related.length > 0) link.rel = related;
        else delete link.rel;
        break;
      }
      case 'self':
        link.self = reader.word();
        break;
      case 'category':
        link.categories = wordsOf(reader.word());
        break;
      case CORE_ID: {
        const { value, source } = reader.parameter(name);
        const id = source ?? value;
        if (typeof id !== 'string') throw reader.fault(`needs a quoted string for ${CORE_ID}`);
        link.id = id;
        break;
      }
      // The source of the link is the entity around it, and the target stands between the angle brackets.
      case CORE_SOURCE:
      case CORE_TARGET:
        reader.parameter(name);
        break;
      default: {
        const { value, source } = reader.parameter(name);
        attributes[name] = value;
        if (source !== undefined) tokens.set(name, source);
      }
    }
  }
  if (target === '') throw reader.fault('names no target between < and >');
  return /[?&]action=/.test(target) ? undefined : link;
}
