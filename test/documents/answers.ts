/** Compares an answer with its form in a document, in which `…` stands for anything. */
import type { Json } from '@cmbs/shared';

const ANYTHING = '…';

const asPattern = (text: string): RegExp =>
  new RegExp(
    `^${text
      .split(ANYTHING)
      .map((part) => part.replace(/[.*+?^$()|[\]\\{}]/g, '\\$&'))
      .join('[^]*')}$`,
  );

/**
 * Where an answer differs from the shown answer; undefined if it does not. A shown object is complete unless it
 * has a member `"…"`, and a shown list unless it ends with `"…"`.
 */
export function differenceOf(shown: Json, real: Json | undefined, at = 'the answer'): string | undefined {
  const differs = `${at} is ${real === undefined ? 'absent' : JSON.stringify(real).slice(0, 300)}, not ${JSON.stringify(shown)}`;
  if (typeof shown === 'string') {
    if (shown === ANYTHING) return undefined;
    return typeof real === 'string' && asPattern(shown).test(real) ? undefined : differs;
  }
  if (typeof shown !== 'object' || shown === null) return shown === real ? undefined : differs;
  if (typeof real !== 'object' || real === null || Array.isArray(shown) !== Array.isArray(real)) return differs;
  if (Array.isArray(shown)) {
    const [items, all] = [shown as readonly Json[], real as readonly Json[]];
    const isPart = items.at(-1) === ANYTHING;
    const named = isPart ? items.slice(0, -1) : items;
    if (isPart ? all.length < named.length : all.length !== named.length) return differs;
    return first(named.map((item, index) => () => differenceOf(item, all[index], `${at}[${index}]`)));
  }
  const { [ANYTHING]: rest, ...members } = shown as Readonly<Record<string, Json>>;
  const object = real as Readonly<Record<string, Json>>;
  const more = Object.keys(object).filter((key) => !Object.hasOwn(members, key));
  if (rest === undefined && more.length > 0) return `${at} also has ${more.join(', ')}`;
  return first(
    Object.entries(members).map(
      ([key, value]) =>
        () =>
          differenceOf(value, object[key], `${at}.${key}`),
    ),
  );
}

function first(differences: readonly (() => string | undefined)[]): string | undefined {
  for (const difference of differences) {
    const found = difference();
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Compares an answer in text. */
export const isShownAs = (shown: string, real: string): boolean => asPattern(shown.trim()).test(real.trim());
