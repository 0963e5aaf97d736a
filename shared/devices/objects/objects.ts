/** Makes objects, and knows the classes: those of oBIX, and those that are registered from outside. */
import { DeviceObjectError, shown } from '../errors';
import { CONTRACT_CLASSES, CONTRACTS } from './contracts';
import {
  absentValue,
  COMMON_FACETS,
  type Element,
  elementOf,
  isDefault,
  isElement,
  STATUSES,
  VALUES,
} from './elements';
import {
  CLASS_OF_ELEMENT,
  type CommonFacets,
  type CustomClass,
  type CustomObject,
  type DeviceObject,
  type Draft,
} from './object';

/** Levels of a tree: more than gateways have, few enough for recursion. */
export const MAX_TREE_DEPTH = 64;
/** Objects of a tree. Each takes about 500 bytes of memory. */
export const MAX_TREE_OBJECTS = 100_000;

/**
 * A class of objects from outside: for a contract, or for an element that oBIX does not have.
 * `Fields` are what a program wants to know of an object, read from its facets and its children.
 */
export interface ObjectDefinition<Fields extends object = object> {
  readonly class: CustomClass;
  /** The element that an object has, or whose facets the new element has. */
  readonly element: Element;
  /** The name of a new element: letters, digits, dots, hyphens and underscores. Only XML and JSON carry new elements. */
  readonly tag?: string;
  /** Objects of the element that have one of these contracts are of the class. */
  readonly contracts?: readonly string[];
  /** An error that it throws refuses the object. */
  readonly read: (object: DeviceObject) => Fields;
  /** The facets and children that new fields have; `change` needs it. */
  readonly write?: (fields: Fields, object: DeviceObject) => Draft;
  /** The fields of an object after a newer state has arrived; those of the newer state when absent. */
  readonly merge?: (old: Fields, fresh: Fields) => Fields;
  /** Called with each object that was made. An error that it throws refuses the object. */
  readonly onMade?: (object: DeviceObject & { readonly fields: Fields }) => void;
  /** Called with each object that was merged, and with its old state. */
  readonly onMerged?: (
    object: DeviceObject & { readonly fields: Fields },
    old: DeviceObject & { readonly fields: Fields },
  ) => void;
}

/** An object of a class from outside. */
export type Defined<Fields extends object> = CustomObject & { readonly fields: Fields };

/**
 * A definition as {@link DeviceObjects} takes it. The registry gives its functions only fields that its own `read`
 * made, which the type of a list of definitions cannot say.
 */
type AnyDefinition = ObjectDefinition;

/** Checks the types of a definition, and lets its objects be recognised. */
export function defineObject<Fields extends object>(
  definition: ObjectDefinition<Fields>,
): { readonly definition: AnyDefinition; readonly is: (object: DeviceObject) => object is Defined<Fields> } {
  return {
    definition: definition as unknown as AnyDefinition,
    is: (object): object is Defined<Fields> => object.class === definition.class,
  };
}

/** A class as the registry chooses it. */
interface Chosen {
  readonly class: string;
  readonly read?: (object: DeviceObject) => object;
  /** Absent for a class of this program. */
  readonly custom?: AnyDefinition;
}

interface Building {
  left: number;
}

const TAG = /^[A-Za-z_][A-Za-z0-9._-]{0,63}$/;

export class DeviceObjects {
  readonly #byContract = new Map<string, { readonly element: Element; readonly chosen: Chosen }>();
  readonly #byTag = new Map<string, { readonly element: Element; readonly chosen: Chosen }>();
  readonly #byClass = new Map<string, AnyDefinition>();

  /** @throws DeviceObjectError for two definitions of one class, contract or element */
  constructor(definitions: readonly AnyDefinition[] = []) {
    for (const name of CONTRACT_CLASSES) {
      const { contract, element, read } = CONTRACTS[name];
      this.#byContract.set(contract, { element, chosen: { class: name, read } });
    }
    for (const definition of definitions) this.#add(definition);
  }

  #add(definition: AnyDefinition): void {
    const { class: name, element, tag, contracts = [] } = definition;
    if (!name.includes(':')) throw new DeviceObjectError(`The class ${shown(name)} has no colon.`);
    if (this.#byClass.has(name)) throw new DeviceObjectError(`There are two classes ${shown(name)}.`);
    if (element === 'ref') throw new DeviceObjectError('A reference has no class of its own.');
    const entry = { element, chosen: { class: name, read: definition.read, custom: definition } };
    this.#byClass.set(name, definition);
    if (tag !== undefined) {
      if (!TAG.test(tag) || isElement(tag) || this.#byTag.has(tag)) {
        throw new DeviceObjectError(`${shown(tag)} is no name for a new element, or is in use.`);
      }
      this.#byTag.set(tag, entry);
    }
    for (const contract of contracts) {
      if (this.#byContract.has(contract))
        throw new DeviceObjectError(`There are two classes for ${shown(contract)}.`);
      this.#byContract.set(contract, entry);
    }
  }

  /** The element that a name on the wire stands for; undefined for an unknown name. */
  elementNamed(tag: string): Element | undefined {
    return isElement(tag) ? tag : this.#byTag.get(tag)?.element;
  }

  /**
   * An object with all its children, checked.
   * @throws DeviceObjectError
   */
  make(draft: Draft): DeviceObject {
    return this.#build(draft, [], 1, { left: MAX_TREE_OBJECTS }, undefined);
  }

  /**
   * The newer state of an object. Every facet and every child is that of the newer state, except name and href, where
   * an answer leaves them out. An item of a list keeps the class that the list gave it. An object of another
   * element, such as an error, takes the place of the old one.
   * @throws DeviceObjectError
   */
  merge(old: DeviceObject, fresh: DeviceObject): DeviceObject {
    return this.#build(fresh, [], 1, { left: MAX_TREE_OBJECTS }, old);
  }

  /**
   * The object with other fields, by `write` of its definition.
   * @throws DeviceObjectError where the definition has no `write`
   */
  change<Fields extends object>(object: Defined<Fields>, fields: Partial<Fields>): DeviceObject {
    const definition = this.#byClass.get(object.class);
    if (definition?.write === undefined) {
      throw new DeviceObjectError(`Fields of ${shown(object.class)} cannot be changed.`);
    }
    return this.make(definition.write({ ...object.fields, ...fields }, object));
  }

  /** A reference is nothing else; then the last known contract decides, then that of the list, then the element. */
  #classOf(draft: Draft, of: readonly string[]): { readonly chosen: Chosen; readonly isByContract: boolean } {
    const { element, tag } = draft;
    const plain = { chosen: { class: CLASS_OF_ELEMENT[element] }, isByContract: false };
    if (element === 'ref') return plain;
    const chosen = this.#contractIn(draft.is ?? [], element) ?? this.#contractIn(of, element);
    if (chosen !== undefined) return { chosen, isByContract: true };
    if (tag === undefined) return plain;
    const registered = this.#byTag.get(tag);
    if (registered?.element !== element) {
      throw new DeviceObjectError(`There is no element ${shown(tag)} with the facets of ${element}.`);
    }
    return { chosen: registered.chosen, isByContract: false };
  }

  #contractIn(contracts: readonly string[], element: Element): Chosen | undefined {
    for (let at = contracts.length - 1; at >= 0; at--) {
      const known = this.#byContract.get(contracts[at] ?? '');
      // A contract of another element says nothing: an integer has no operations of a watch.
      if (known?.element === element) return known.chosen;
    }
    return undefined;
  }

  #build(
    draft: Draft,
    of: readonly string[],
    depth: number,
    building: Building,
    older: DeviceObject | undefined,
  ): DeviceObject {
    if (depth > MAX_TREE_DEPTH) throw new DeviceObjectError(`Objects nest at most ${MAX_TREE_DEPTH} levels deep.`);
    building.left -= 1;
    if (building.left < 0) throw new DeviceObjectError(`A tree has at most ${MAX_TREE_OBJECTS} objects.`);
    const old = older?.element === draft.element && older.tag === draft.tag ? older : undefined;
    const { chosen: own, isByContract } = this.#classOf(draft, of);
    const kept = isByContract || old === undefined ? undefined : this.#givenBy(old);
    const chosen = kept ?? own;
    const itemContracts = 'of' in draft ? (draft.of ?? []) : [];
    const oldChildren = new Siblings(old?.children ?? []);
    const children = (draft.children ?? []).map((one) =>
      this.#build(one, itemContracts, depth + 1, building, oldChildren.take(one)),
    );
    const bare = { class: chosen.class, ...facetsOf(draft, old), children: Object.freeze(children) };
    if (chosen.read === undefined) return Object.freeze(bare) as unknown as DeviceObject;
    return this.#withFields(bare as unknown as DeviceObject, chosen, old);
  }

  /** The class that a list gave to an object, which does not say so itself. */
  #givenBy(old: DeviceObject): Chosen | undefined {
    if (old.class === this.#classOf(old, []).chosen.class) return undefined;
    const custom = this.#byClass.get(old.class);
    if (custom !== undefined) return { class: custom.class, read: custom.read, custom };
    const builtIn = CONTRACT_CLASSES.find((name) => name === old.class);
    return builtIn && { class: builtIn, read: CONTRACTS[builtIn].read };
  }

  #withFields(bare: DeviceObject, chosen: Chosen, old: DeviceObject | undefined): DeviceObject {
    const { custom } = chosen;
    const fresh = chosen.read?.(bare) ?? {};
    const before = old?.class === chosen.class && 'fields' in old ? old : undefined;
    const fields = before !== undefined && custom?.merge ? custom.merge(before.fields, fresh) : fresh;
    const object = Object.freeze({ ...bare, fields: Object.freeze(fields) }) as DeviceObject & { fields: object };
    custom?.onMade?.(object);
    if (before !== undefined) custom?.onMerged?.(object, before);
    return object;
  }
}

/** The older states of children, which are found by name, or by href where there is no name. */
class Siblings {
  readonly #byKey = new Map<string, DeviceObject[]>();

  constructor(children: readonly DeviceObject[]) {
    // The last becomes the first to be taken.
    for (const one of children.toReversed()) {
      const key = Siblings.#keyOf(one);
      const same = this.#byKey.get(key);
      if (same === undefined) this.#byKey.set(key, [one]);
      else same.push(one);
    }
  }

  static #keyOf({ name, href }: { readonly name?: string; readonly href?: string }): string {
    return name === undefined ? `href ${href ?? ''}` : `name ${name}`;
  }

  take(fresh: Draft): DeviceObject | undefined {
    return this.#byKey.get(Siblings.#keyOf(fresh))?.pop();
  }
}

/** The facets of a draft, checked; the name and the href of an older state where the draft has none. */
function facetsOf(draft: Draft, old: DeviceObject | undefined): Readonly<Record<string, unknown>> {
  const { element, tag } = draft;
  const facets: Record<string, unknown> = { element, ...(tag === undefined ? {} : { tag }) };
  for (const facet of Object.keys(COMMON_FACETS) as (keyof typeof COMMON_FACETS)[]) {
    const value = draft[facet] ?? (facet === 'name' || facet === 'href' ? old?.[facet] : undefined);
    if (value !== undefined) facets[facet] = VALUES.text.check(value);
  }
  const { status = 'ok' } = draft;
  if (!STATUSES.includes(status)) throw new DeviceObjectError(`${shown(status)} is no status.`);
  const common: Pick<CommonFacets, 'is' | 'status' | 'isNull' | 'writable'> = {
    is: VALUES.contracts.check(draft.is ?? []),
    status,
    isNull: draft.isNull ?? false,
    writable: VALUES.boolean.check(draft.writable ?? false),
  };
  Object.assign(facets, common, ownFacetsOf(draft));
  const { isNull, value } = valueOf(draft);
  facets.isNull = isNull;
  if (value !== undefined) facets.value = value;
  return facets;
}

function ownFacetsOf(draft: Draft): Readonly<Record<string, unknown>> {
  const given = draft as Readonly<Record<string, unknown>>;
  const facets: Record<string, unknown> = {};
  for (const [facet, type] of Object.entries(elementOf(draft.element).facets)) {
    const value = given[facet];
    if (value === undefined || isDefault(draft.element, facet, value)) continue;
    facets[facet] = (VALUES[type].check as (value: unknown) => unknown)(value);
  }
  return facets;
}

/** A value makes an object that is not null; without one it has the default value of its element, or is null. */
function valueOf(draft: Draft): { readonly isNull: boolean; readonly value?: unknown } {
  const { element } = draft;
  const type = elementOf(element).value;
  if (type === undefined) return { isNull: draft.isNull ?? false };
  if (draft.isNull === true) return { isNull: true };
  const value: unknown = 'value' in draft ? draft.value : undefined;
  const kept = value ?? absentValue(element);
  if (kept === undefined) return { isNull: true };
  return { isNull: false, value: (VALUES[type].check as (value: unknown) => unknown)(kept) };
}
