/** The sessions of `system.auth`, for programs that make their service modules before the domain. */
import type { Principal } from '@cmbs/shared';
import { type SessionsOptions, TokenSessions } from '@cmbs/shared/access';
import type { Config } from '@cmbs/shared/config';
import type { Session, Sessions } from '@cmbs/shared/services';

export class ProgramSessions implements Sessions {
  #sessions: TokenSessions | undefined;

  /** Undefined where access tokens are not accepted, so that no session would be worth anything. */
  static of({ CMBS_IDENTITIES: identities }: Pick<Config, 'CMBS_IDENTITIES'>): ProgramSessions | undefined {
    return identities.includes('token') ? new ProgramSessions() : undefined;
  }

  /** Sets the parts that exist only when the domain is assembled. */
  begin(options: SessionsOptions): void {
    this.#sessions = new TokenSessions(options);
  }

  open(principal: Principal, signal: AbortSignal): Promise<Session> {
    return this.#begun.open(principal, signal);
  }

  close(principal: Principal, signal: AbortSignal): Promise<void> {
    return this.#begun.close(principal, signal);
  }

  get #begun(): TokenSessions {
    if (this.#sessions === undefined) throw new Error('The domain is not assembled yet.');
    return this.#sessions;
  }
}
