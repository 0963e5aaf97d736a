/** Numbers for the names of collections and of their indexed fields, which rows have in place of the names. */
import type { Connection } from './connection';

/** The number of a collection (`field` is empty) or of an indexed field. */
export interface Name {
  readonly n: number;
  readonly collection: string;
  readonly field: string;
}

export class Names {
  /** By collection, then field. */
  readonly #numbers = new Map<string, Map<string, number>>();
  readonly #collections = new Map<number, string>();
  /** Names that no commit has stored yet; the next commit that changes documents stores them. */
  #unstored: Name[] = [];
  #next: number;

  constructor(connection: Connection) {
    for (const [n, collection, field] of connection.statement('SELECT n, collection, field FROM name').all()) {
      this.#add({ n: Number(n), collection: String(collection), field: String(field) });
    }
    this.#next = Number(connection.statement('SELECT coalesce(max(n), 0) FROM name').get()?.[0]) + 1;
  }

  #add({ n, collection, field }: Name): void {
    const fields = this.#numbers.get(collection);
    if (fields === undefined) this.#numbers.set(collection, new Map([[field, n]]));
    else fields.set(field, n);
    if (field === '') this.#collections.set(n, collection);
  }

  /** Undefined for a name without a number. */
  number(collection: string, field = ''): number | undefined {
    return this.#numbers.get(collection)?.get(field);
  }

  /** Gives a number to a name that has none. The number stays even when the transaction is not committed. */
  intern(collection: string, field = ''): number {
    const known = this.number(collection, field);
    if (known !== undefined) return known;
    const name = { n: this.#next++, collection, field };
    this.#add(name);
    this.#unstored.push(name);
    return name.n;
  }

  collection(n: number): string {
    return this.#collections.get(n) ?? '';
  }

  get unstored(): readonly Name[] {
    return this.#unstored;
  }

  stored(): void {
    this.#unstored = [];
  }
}
