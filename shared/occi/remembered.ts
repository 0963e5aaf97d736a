/**
 * Limits of {@link Remembered}, for results that depend on combinations of a kind and mixins, which clients choose: results,
 * their members (attributes and actions, about 100 bytes each), and characters of the names of the combinations.
 */
const MAX_REMEMBERED_COMBINATIONS = 1000;
const MAX_REMEMBERED_MEMBERS = 50_000;
const MAX_REMEMBERED_NAME_CHARS = 1024 * 1024;

/** A cache of bounded size: when it is full, it forgets everything. */
export class Remembered<V> {
  readonly #values = new Map<string, V>();
  #members = 0;
  #chars = 0;

  /** The value of a key, computed if the cache does not have it. `membersOf` counts the attributes or names in a value. */
  get(key: string, compute: () => V, membersOf: (value: V) => number): V {
    const known = this.#values.get(key);
    if (known !== undefined) return known;
    const value = compute();
    this.#set(key, value, membersOf(value));
    return value;
  }

  #set(key: string, value: V, members: number): void {
    this.#members += members;
    this.#chars += key.length;
    const isFull =
      this.#values.size >= MAX_REMEMBERED_COMBINATIONS ||
      this.#members > MAX_REMEMBERED_MEMBERS ||
      this.#chars > MAX_REMEMBERED_NAME_CHARS;
    if (isFull) {
      this.#values.clear();
      this.#members = members;
      this.#chars = key.length;
    }
    this.#values.set(key, value);
  }
}
