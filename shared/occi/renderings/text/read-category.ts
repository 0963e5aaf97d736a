/** Reads a `Category` item (GFD.185 §3.5.1). */
import { badRequest } from '../../../errors';
import type { Json, JsonObject } from '../../../json';
import { isCategoryClass, type CategoryClass } from '../../model';
import type { CategoryInput } from '../../payload';
import { checkMemberName, wordsOf, type Mutable } from '../body';
import { readName } from './names';
import { excerpt } from './quoting';
import type { TextReader } from './reader';

/** @throws CmbsError `bad_request` */
export function readCategory(reader: TextReader): CategoryInput {
  const term = reader.until('term');
  if (term === '' || /[\s="]/.test(term)) {
    throw reader.fault(
      'does not begin with a term, as in compute; scheme="http://schemas.ogf.org/occi/infrastructure#"',
    );
  }
  const parameters = new Map<string, string>();
  while (reader.nextParameter()) {
    const name = reader.name().toLowerCase();
    parameters.set(name, reader.word());
  }
  const scheme = parameters.get('scheme');
  if (scheme === undefined || scheme === '') throw reader.fault(`gives no scheme for the term ${excerpt(term)}`);
  const category: Mutable<CategoryInput> = { term: readName(term), scheme, dialect: 'text', given: [] };
  const given: string[] = [];
  const categoryClass = readClass(parameters.get('class'));
  if (categoryClass !== undefined) category.class = categoryClass;
  for (const [name, value] of parameters) {
    switch (name) {
      case 'scheme':
      case 'class':
        continue;
      case 'title':
      case 'location':
        category[name] = value;
        given.push(name);
        break;
      case 'rel': {
        const related = wordsOf(value);
        if (categoryClass === 'kind') {
          if (related[0] !== undefined) category.parent = related[0];
          given.push('parent');
        } else {
          category.depends = related;
          given.push('depends');
        }
        break;
      }
      case 'actions':
        category.actions = wordsOf(value);
        given.push(name);
        break;
      case 'attributes':
        category.attributes = readAttributeDefinitions(value);
        given.push(name);
        break;
      default:
        given.push(name);
    }
  }
  category.given = given;
  return category;
}

function readClass(text: string | undefined): CategoryClass | undefined {
  const name = text?.toLowerCase();
  if (name === undefined || isCategoryClass(name)) return name;
  throw badRequest(`Category has the class ${excerpt(name)}; write kind, mixin or action.`);
}

/** Reads `a{required} b{immutable} c`: text defines two flags of an attribute and leaves the rest open. */
function readAttributeDefinitions(text: string): JsonObject {
  const definitions: Record<string, Json> = {};
  for (const [, written = '', properties = ''] of text.matchAll(/([^\s{}]+)(?:\s*\{([^{}]*)\})?/g)) {
    const name = checkMemberName(readName(written));
    const given = new Set(wordsOf(properties.toLowerCase()));
    definitions[name] = { required: given.has('required'), mutable: !given.has('immutable') };
  }
  return definitions;
}
