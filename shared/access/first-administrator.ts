/** The first administrator, whose password the operator gives in a file, since nobody could let anybody in otherwise. */
import { readFileSync } from 'node:fs';
import type { Clock } from '../clock';
import { badRequest, type CmbsError, toCmbsError } from '../errors';
import type { JsonObject } from '../json';
import { type CategoryRegistry, readEntity, writeEntity } from '../occi';
import { SYSTEM } from '../principal';
import type { Store } from '../store';
import { hashPassword, isPossiblePassword, ScryptRuns } from './identities';
import { USER_KIND, USERS } from './names';
import { checkUser } from './providers';

/** The settings that name the first administrator. */
export interface FirstAdministratorSettings {
  readonly CMBS_ADMIN_PASSWORD_FILE: string | undefined;
  readonly CMBS_ADMINISTRATORS: readonly string[];
}

export interface FirstAdministrator {
  readonly name: string;
  readonly password: string;
}

/** What making a user needs. */
export interface UserParts {
  readonly store: Store;
  readonly registry: CategoryRegistry;
  readonly clock: Clock;
}

/**
 * The first of the administrators, with the password in the file; undefined without a file.
 * @throws CmbsError `bad_request` for a file that cannot be read or is empty, and for a name or password that no user has
 */
export function firstAdministratorOf({
  CMBS_ADMIN_PASSWORD_FILE: file,
  CMBS_ADMINISTRATORS: [name],
}: FirstAdministratorSettings): FirstAdministrator | undefined {
  if (file === undefined || name === undefined) return undefined;
  const password = firstLineOf(file);
  if (password === '') throw refusal(`${file} is empty; write the password of ${name} in its first line.`);
  try {
    checkUser(name, password);
  } catch (cause) {
    throw refusal(`${name} cannot be a user with this password. ${toCmbsError(cause).message}`, cause);
  }
  if (!isPossiblePassword(password)) throw refusal(`${file} has a password with control characters; remove them.`);
  return { name, password };
}

function firstLineOf(file: string): string {
  try {
    return readFileSync(file, 'utf8').split(/\r?\n/, 1)[0] ?? '';
  } catch (cause) {
    throw refusal(`the file cannot be read: ${(cause as Error).message}`, cause);
  }
}

const refusal = (reason: string, cause?: unknown): CmbsError =>
  badRequest(`CMBS_ADMIN_PASSWORD_FILE: ${reason}`, { cause });

/**
 * Makes a user with a password, unless there is one of that name. Several processes may do so at once; one makes the user.
 * @throws CmbsError `bad_attribute`; the errors of the store
 */
export async function ensureUser(
  { store, registry, clock }: UserParts,
  name: string,
  password: string,
): Promise<void> {
  checkUser(name, password);
  const path = USERS + name;
  if ((await readEntity(store, path)) !== undefined) return;
  const hash = await hashPassword(password, new ScryptRuns({ clock }).run);
  await store.transact(async (tx) => {
    if ((await readEntity(tx, path)) !== undefined) return;
    const now = clock.now();
    const user = {
      ...{ path, id: name, kind: USER_KIND, mixins: [], attributes: {}, rawJson: {}, owner: name },
      ...{ createdBy: SYSTEM, createdAt: now, updatedAt: now, isLinked: false },
      internal: { password: hash as unknown as JsonObject },
    };
    writeEntity(tx, user, undefined, registry);
  });
}

/** Whether an administrator of the settings may be able to log in; false where passwords alone count and none is a user. */
export async function canAdministrate(
  store: Pick<Store, 'get' | 'getAll'>,
  {
    CMBS_IDENTITIES: identities,
    CMBS_ADMINISTRATORS: names,
  }: { readonly CMBS_IDENTITIES: readonly string[]; readonly CMBS_ADMINISTRATORS: readonly string[] },
): Promise<boolean> {
  if (identities.every((one) => one !== 'basic') || identities.includes('oidc') || identities.includes('proxy'))
    return true;
  for (const name of names) if ((await readEntity(store, USERS + name)) !== undefined) return true;
  return false;
}
