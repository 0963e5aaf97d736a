/** Reads an entity that has to exist. */
import { CmbsError } from '../errors';
import { type Path, readEntity, type StoredEntity } from '../occi';
import type { Transaction } from '../store';

/** @throws CmbsError `not_found` */
export async function existing(reader: Pick<Transaction, 'getAll' | 'get'>, path: Path): Promise<StoredEntity> {
  const stored = await readEntity(reader, path);
  if (stored === undefined) throw new CmbsError('not_found', `There is nothing at ${path}.`);
  return stored;
}
