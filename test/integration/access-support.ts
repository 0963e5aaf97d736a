/** A closed deployment without HTTP: entities on the embedded store, with the access rules of one process. */
import { CmbsError, newId, systemClock, type JsonObject, type Principal } from '@cmbs/shared';
import { type Access, accessOf, ensureUser } from '@cmbs/shared/access';
import { layersOf } from '@cmbs/shared/broker';
import { passiveExtensionsOf } from '@cmbs/shared/extensions';
import { Categories, Entities, type PageRequest } from '@cmbs/shared/occi';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';
import { countedStore, type CountedStore } from './counted-store';

export const ACCESS = 'http://houssem.org/cmbs/access#';
export const MEMBER = 'http://houssem.org/cmbs#member';
export const MESSAGE = 'http://houssem.org/cmbs#message';
const NO_FILTER = { categories: [], attributes: [], words: [] };

/** What one process knows; another process of the deployment may have other administrators. */
interface Process {
  readonly access: Access;
  readonly categories: Categories;
  readonly entities: Entities;
}

export class ClosedDeployment {
  readonly #temporary: TemporaryStore;
  readonly counted: CountedStore;
  #process: Process;

  private constructor(temporary: TemporaryStore, counted: CountedStore, process: Process) {
    this.#temporary = temporary;
    this.counted = counted;
    this.#process = process;
  }

  static async open(): Promise<ClosedDeployment> {
    const temporary = await openTemporaryStore();
    const counted = countedStore(temporary.store);
    return new ClosedDeployment(temporary, counted, processWith(counted, ['root']));
  }

  get access(): Access {
    return this.#process.access;
  }

  /** Starts again with other administrators in the configuration. */
  restart(administrators: readonly string[]): void {
    this.#process.categories.close();
    this.#process = processWith(this.counted, administrators);
  }

  async close(): Promise<void> {
    this.#process.categories.close();
    await this.#temporary.close();
  }

  async user(name: string): Promise<Principal> {
    const { registry } = await this.#process.categories.current();
    await ensureUser({ store: this.#temporary.store, registry, clock: systemClock }, name, `password of ${name}`);
    this.access.forget();
    return { kind: 'user', name };
  }

  put(
    principal: Principal,
    path: string,
    kind: string,
    values: JsonObject = {},
    mixins: readonly string[] = [],
  ): Promise<unknown> {
    const draft = { kind, mixins, values, rawJson: {}, links: [] };
    return this.#process.entities.put(path, () => draft, { principal, pathHere: ({ path: own }) => own });
  }

  /** Creates users with passwords in one request. */
  createUsers(principal: Principal, names: readonly string[]): Promise<unknown> {
    const drafts = names.map((id) => ({
      ...{ kind: `${ACCESS}user`, id, mixins: [], rawJson: {}, links: [] },
      values: { 'cmbs.access.user.password': `password of ${id}` },
    }));
    const requester = { principal, pathHere: ({ path }: { readonly path: string }) => path };
    return this.#process.entities.create(drafts, '/cmbs/access/user/', requester);
  }

  /** Creates groups in one request, by name. */
  createGroups(principal: Principal, groups: Readonly<Record<string, JsonObject>>): Promise<unknown> {
    const drafts = Object.entries(groups).map(([id, values]) => ({
      ...{ kind: `${ACCESS}group`, id, mixins: [], rawJson: {}, links: [] },
      values,
    }));
    const requester = { principal, pathHere: ({ path }: { readonly path: string }) => path };
    return this.#process.entities.create(drafts, '/cmbs/access/group/', requester);
  }

  update(
    principal: Principal,
    path: string,
    values: JsonObject,
    mixins: readonly string[] = [],
  ): Promise<unknown> {
    const draft = { mixins, values, rawJson: {}, links: [] };
    return this.#process.entities.update(path, () => draft, { principal, pathHere: ({ path: own }) => own });
  }

  delete(principal: Principal, path: string): Promise<void> {
    return this.#process.entities.delete(path, { principal, signal: new AbortController().signal });
  }

  /** One page of a collection. */
  async page(
    principal: Principal,
    collection: string,
    request: Pick<PageRequest, 'number' | 'page' | 'cursor'>,
  ): Promise<{ readonly paths: readonly string[]; readonly next: string | undefined }> {
    const opened = await this.#process.entities.openCollection(collection, principal);
    const { entities, next } = await this.#process.entities.list(opened, { filter: NO_FILTER, ...request });
    return { paths: entities.map(({ entity }) => entity.path), next };
  }

  rule(
    principal: Principal,
    id: string,
    target: string,
    more: Record<string, readonly string[]>,
  ): Promise<unknown> {
    return this.put(principal, `/cmbs/access/rule/${id}`, `${ACCESS}rule`, {
      'cmbs.access.rule.target': target,
      ...Object.fromEntries(Object.entries(more).map(([name, list]) => [`cmbs.access.rule.${name}`, list])),
    });
  }

  group(principal: Principal, id: string, more: Record<string, readonly string[] | string>): Promise<unknown> {
    const values = Object.fromEntries(Object.entries(more).map(([name, v]) => [`cmbs.access.group.${name}`, v]));
    return this.put(principal, `/cmbs/access/group/${id}`, `${ACCESS}group`, values);
  }
}

function processWith({ store }: CountedStore, administrators: readonly string[]): Process {
  const access = accessOf({
    store,
    clock: systemClock,
    isClosed: true,
    administrators,
    memberKind: MEMBER,
    unauthenticated: () => new CmbsError('unauthenticated', 'Nobody is known here.'),
  });
  const extensions = passiveExtensionsOf([], layersOf()).map((one) =>
    one.name === access.extension.name ? access.extension : one,
  );
  const { authorize, visibility, cursors } = access;
  const categories = new Categories(store, extensions, { watch: false, clock: systemClock, authorize });
  const entities = new Entities({ store, categories, clock: systemClock, newId, authorize, visibility, cursors });
  return { access, categories, entities };
}
