/**
 * Sessions: access tokens that callers make for a while, such as by `system.auth`. A session is a token like any other,
 * so its user can list it, limit it by rules and delete it.
 */
import type { Clock, NewId } from '../clock';
import { CmbsError } from '../errors';
import type { Principal } from '../principal';
import type { Categories, Entities } from '../occi';
import { TOKEN, TOKEN_KIND, TOKENS } from './names';
import { timeIn } from './rule';

/** Milliseconds for which a session lasts: a working day. */
const SESSION_MS = 12 * 60 * 60 * 1000;
/** Sessions of one user at a time; each new one reads those that there are. */
const MAX_SESSIONS = 100;

export interface SessionsOptions {
  readonly entities: Pick<Entities, 'create' | 'delete' | 'openCollection' | 'list'>;
  readonly categories: Pick<Categories, 'current'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly newId: NewId;
}

export interface OpenedSession {
  readonly id: string;
  readonly token: string;
  readonly expiresAt: Date;
}

export class TokenSessions {
  readonly #options: SessionsOptions;

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /**
   * Makes an access token for a user. Deletes those sessions of the user that have expired.
   * @throws CmbsError `forbidden`, `unauthenticated`; `conflict` for too many sessions
   */
  async open(principal: Principal, signal: AbortSignal): Promise<OpenedSession> {
    const { entities, clock, newId } = this.#options;
    const title = `session of ${principal.name}`;
    await this.#makeRoom(principal, title, signal);
    const id = `session-${newId()}`;
    const expiresAt = new Date(clock.now() + SESSION_MS);
    const { secrets = {} } = await entities.create(
      [
        {
          kind: TOKEN_KIND,
          mixins: [],
          id,
          values: { [TOKEN.title]: title, [TOKEN.expiresAt]: expiresAt.toISOString() },
          rawJson: {},
          links: [],
        },
      ],
      TOKENS,
      { principal, signal, pathHere: () => undefined },
    );
    const token = secrets[`${TOKENS}${id}`];
    if (token === undefined) throw new Error('A new access token has no secret.');
    return { id, token, expiresAt };
  }

  /**
   * Deletes the access token of a call. Tokens change no tokens, so its owner deletes it.
   * @throws CmbsError `not_found`; `forbidden` where a rule denies it to the owner
   */
  async close({ token, ...owner }: Principal, signal: AbortSignal): Promise<void> {
    if (token === undefined) throw new CmbsError('bad_request', 'The call came with no access token.');
    await this.#options.entities.delete(token, { principal: owner, signal });
  }

  async #makeRoom(principal: Principal, title: string, signal: AbortSignal): Promise<void> {
    const { entities, clock } = this.#options;
    const opened = await entities.openCollection(TOKENS, principal);
    const filter = { categories: [], words: [], attributes: [{ name: TOKEN.title, value: title }] };
    const page = await entities.list(opened, { filter, number: 2 * MAX_SESSIONS, need: 'attributes', signal });
    const own = page.entities.map(({ entity }) => entity).filter(({ owner }) => owner === principal.name);
    const isOver = (time: number | undefined): boolean => time !== undefined && time <= clock.now();
    const over = own.filter(({ attributes }) => isOver(timeIn(attributes[TOKEN.expiresAt])));
    if (own.length - over.length >= MAX_SESSIONS) {
      throw new CmbsError(
        'conflict',
        `You have ${MAX_SESSIONS} sessions; end some of them, by system.logout or by deleting their tokens.`,
      );
    }
    for (const { path } of over) {
      try {
        await entities.delete(path, { principal, signal });
      } catch (error) {
        // Another call of the same user has deleted it.
        if (!(error instanceof CmbsError && error.code === 'not_found')) throw error;
      }
    }
  }
}
