/**
 * Values as text in the store, without loss: exact numbers as their digits, bytes and times with a tag. A tag is a struct
 * with the one member `$`, and a struct of a caller that has a member `$` gets a tag itself.
 */
import { type ExactJson, ExactNumber, parseExactJson, stringifyExactJson } from '../../exact-json';
import { parseRfc3339 } from '../../rfc3339';
import { AnswerSize, base64Bytes, base64Of, checkDepth, exactOf, formOf, rfc3339Of, type Value } from '../value';

const TAG = '$';

/**
 * @param most characters, approximately
 * @throws Fault for what is no value, and for a value that is too large
 */
export function storedText(value: Value, most: number): string {
  return stringifyExactJson(tagged(value, 0, new AnswerSize(most)));
}

/** The value of a text of {@link storedText}. @throws Error for another text */
export const storedValue = (text: string): Value => untagged(parseExactJson(text));

function tagged(value: unknown, depth: number, size: AnswerSize): ExactJson {
  const form = formOf(value);
  size.spend(2);
  switch (form.is) {
    case 'nil':
      return null;
    case 'boolean':
      return form.value;
    case 'number':
      return taggedNumber(form.value, size);
    case 'string':
      // Counted as it is written, with escapes.
      size.spend(JSON.stringify(form.value).length);
      return form.value;
    case 'bytes':
      size.spend((form.value.length * 4) / 3);
      return { [TAG]: ['bytes', base64Of(form.value)] };
    case 'date':
      size.spend(24);
      return { [TAG]: ['time', rfc3339Of(form.value)] };
    case 'array':
      checkDepth(depth);
      return Array.from(form.value, (item) => tagged(item, depth + 1, size));
    case 'struct': {
      checkDepth(depth);
      const members: [string, ExactJson][] = [];
      for (const [name, member] of Object.entries(form.value)) {
        if (member === undefined) continue;
        size.spend(JSON.stringify(name).length);
        members.push([name, tagged(member, depth + 1, size)]);
      }
      const struct = Object.fromEntries(members);
      return Object.hasOwn(struct, TAG) ? { [TAG]: ['struct', struct] } : struct;
    }
  }
}

function taggedNumber(value: number | bigint | ExactNumber, size: AnswerSize): number | ExactNumber {
  if (typeof value === 'bigint') return taggedNumber(exactOf(value), size);
  size.spend(value instanceof ExactNumber ? value.source.length : 20);
  if (value instanceof ExactNumber || Number.isFinite(value)) return value;
  throw new RangeError(`${value} is no number of JSON.`);
}

function untagged(json: ExactJson): Value {
  if (typeof json !== 'object' || json === null || json instanceof ExactNumber) return json;
  if (Array.isArray(json)) return (json as readonly ExactJson[]).map(untagged);
  const struct = json as Readonly<Record<string, ExactJson>>;
  if (!Object.hasOwn(struct, TAG)) return membersOf(struct);
  const [tag, content] = struct[TAG] as readonly [string, ExactJson];
  switch (tag) {
    case 'bytes': {
      const bytes = base64Bytes(content as string);
      if (bytes !== undefined) return bytes;
      break;
    }
    case 'time': {
      const time = parseRfc3339(content as string);
      if (time !== undefined) return new Date(time);
      break;
    }
    case 'struct':
      return membersOf(content as Readonly<Record<string, ExactJson>>);
  }
  throw new Error('A stored value has a tag that is not known.');
}

const membersOf = (struct: Readonly<Record<string, ExactJson>>): Value =>
  Object.fromEntries(Object.entries(struct).map(([name, member]) => [name, untagged(member)]));
