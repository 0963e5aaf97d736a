/** Ways through the tree of an object. */
import { resolveHref } from './href';
import type { DeviceClass, DeviceObject, OfClass } from './object';

/** The first child of a name. */
export const child = (object: DeviceObject, name: string): DeviceObject | undefined =>
  object.children.find((candidate) => candidate.name === name);

/** The object at the end of names, from child to child. */
export function descendant(object: DeviceObject, ...names: readonly string[]): DeviceObject | undefined {
  return names.reduce<DeviceObject | undefined>((at, name) => at && child(at, name), object);
}

/** The children of a class. */
export const childrenOf = <C extends DeviceClass>(object: DeviceObject, wanted: C): readonly OfClass<C>[] =>
  object.children.filter((candidate): candidate is OfClass<C> => candidate.class === wanted);

/** The object and all below it, each before its children. */
export function* everyObject(object: DeviceObject): Generator<DeviceObject> {
  const waiting = [object];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    yield next;
    waiting.push(...next.children.toReversed());
  }
}

/**
 * The absolute URI of each object that has an href, in an answer. An href is relative to the request, not to the parent
 * (RFC 3986 §5.1): a gateway writes `value` in the answer to `/light/`, and `light/value` in the answer to `/light`.
 * @param request URI of the request for the root
 */
export function absoluteHrefs(root: DeviceObject, request: string): ReadonlyMap<DeviceObject, string> {
  const hrefs = new Map<DeviceObject, string>();
  for (const object of everyObject(root)) {
    if (object.href !== undefined) hrefs.set(object, resolveHref(object.href, request));
  }
  return hrefs;
}

/** What an error says. The standard has the text in `display`; the gateways of IoTSyS have it in `name`. */
export const errorText = ({ display, displayName, name, is }: DeviceObject): string =>
  [display, displayName, name].find((text) => text !== undefined && text !== '') ?? is.join(' ');
