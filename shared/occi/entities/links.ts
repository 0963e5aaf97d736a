/** The links of resources (GFD.183 §4.5.3): their ends, and the links that a resource shows. */
import { CmbsError } from '../../errors';
import type { Resource } from '../../principal';
import type { Store, Transaction } from '../../store';
import type { CategorySnapshot } from '../categories/snapshot';
import { SOURCE_FIELD, TARGET_FIELD } from '../entity-index';
import { ENTITIES, entitiesOf, readEntities } from '../entity-store';
import { MAX_BATCH_ENTITIES } from '../limits';
import { CORE_SOURCE, CORE_TARGET, type Entity, type LinkView, type Path } from '../model';
import type { LinkInput } from '../payload';
import type { CategoryRegistry } from '../category-registry';
import { localPath, resourceOf, type Requester } from './context';

/** The path or URL at one end of a link. Both ends are required attributes and strings. */
export function endOf(link: Entity, name: typeof CORE_SOURCE | typeof CORE_TARGET): string {
  const end = link.attributes[name];
  return typeof end === 'string' ? end : '';
}

/** The ends of links that are entities of this deployment. */
export const localEnds = (links: readonly Entity[]): readonly Path[] =>
  links.flatMap((link) => [endOf(link, CORE_SOURCE), endOf(link, CORE_TARGET)]).filter(isLocal);

const isLocal = (end: string): boolean => end.startsWith('/');

/**
 * Checks that the source of a link is a resource here, and that the target is one if it is a path of this deployment.
 * @throws CmbsError `bad_attribute`
 */
export function checkLinkEnds(
  link: Entity,
  at: (path: Path) => Entity | undefined,
  registry: CategoryRegistry,
): void {
  const source = endOf(link, CORE_SOURCE);
  const target = endOf(link, CORE_TARGET);
  const from = isLocal(source) ? at(source) : undefined;
  if (from === undefined || registry.isLink(from.kind)) {
    throw new CmbsError(
      'bad_attribute',
      `${CORE_SOURCE} must be a resource here, but there is none at ${source}.`,
    );
  }
  if (!isLocal(target)) return;
  const to = at(target);
  if (to === undefined || registry.isLink(to.kind)) {
    throw new CmbsError('bad_attribute', `${CORE_TARGET} is ${target}, but there is no resource at that path.`);
  }
}

/** A link as its source shows it, and as access rules see it. */
export interface OutgoingLink {
  readonly view: LinkView;
  readonly resource: Resource;
}

/** The links that start at a resource. */
export async function outgoingLinks(
  reader: Pick<Store, 'query' | 'getAll' | 'get'> | Transaction,
  { path: source, isLinked }: Entity,
  { registry }: CategorySnapshot,
): Promise<readonly OutgoingLink[]> {
  if (isLinked === false) return [];
  const { docs } = await reader.query({
    collection: ENTITIES,
    where: [{ field: SOURCE_FIELD, value: source }],
    limit: MAX_BATCH_ENTITIES,
  });
  if (docs.length === 0) return [];
  return (await entitiesOf(reader, docs))
    .filter(({ entity }) => registry.isLink(entity.kind))
    .map(({ entity }) => ({
      resource: resourceOf(entity),
      view: {
        path: entity.path,
        id: entity.id,
        kind: entity.kind,
        mixins: entity.mixins,
        attributes: entity.attributes,
        target: endOf(entity, CORE_TARGET),
      },
    }));
}

/** The links in a request that its source does not have yet. A client that sends back what it read names the others. */
export async function newLinks(
  tx: Transaction,
  links: readonly LinkInput[],
  source: Entity,
  snapshot: CategorySnapshot,
  requester: Requester,
): Promise<readonly LinkInput[]> {
  if (links.every(({ self, id }) => self === undefined && id === undefined)) return links;
  const known = await outgoingLinks(tx, source, snapshot);
  return links.filter(({ self, id }) => {
    const path = self === undefined ? undefined : localPath(self, requester);
    return !known.some(({ view }) => view.id === id || (path !== undefined && view.path === path));
  });
}

/** The sources of links. A source shows its links, so its revision changes with them. */
export async function sourcesOf(tx: Transaction, links: readonly Entity[]): Promise<readonly Entity[]> {
  if (links.length === 0) return [];
  const paths = new Set(links.map((link) => endOf(link, CORE_SOURCE)).filter(isLocal));
  return [...(await readEntities(tx, [...paths])).values()].map(({ entity }) => entity);
}

/** The links that start or end at a resource and cannot exist without it. */
export async function linksAtEnds(tx: Transaction, { path, isLinked }: Entity): Promise<readonly Entity[]> {
  const outgoing = isLinked === false ? [] : await linksBy(tx, SOURCE_FIELD, path);
  return [...outgoing, ...(await linksBy(tx, TARGET_FIELD, path))];
}

async function linksBy(tx: Transaction, field: string, end: Path): Promise<readonly Entity[]> {
  const links: Entity[] = [];
  for (let after: string | undefined, more = true; more;) {
    const page = await tx.query({
      collection: ENTITIES,
      where: [{ field, value: end }],
      limit: MAX_BATCH_ENTITIES,
      ...(after === undefined ? {} : { after }),
    });
    links.push(...(await entitiesOf(tx, page.docs)).map(({ entity }) => entity));
    after = page.next;
    more = after !== undefined;
  }
  return links;
}
