/**
 * Publishes the modules of the program as records of the module `discovery`, at the start and every five minutes. When no
 * process of the deployment renews them, they are gone after three intervals.
 */
import { type Clock, type Log, SYSTEM } from '@cmbs/shared';
import type { Services } from '@cmbs/shared/services';
import { MAX_DESCRIPTORS, PUBLISH_INTERVAL_MS, type ServiceRegistry } from '@cmbs/shared/services/builtin';

export interface ModuleAnnouncementsOptions {
  readonly registry: Pick<ServiceRegistry, 'register'>;
  readonly services: Pick<Services, 'modules'>;
  /** Public URL of the deployment, without a slash at the end. */
  readonly url: string;
  readonly clock: Clock;
  readonly log: Log;
}

export class ModuleAnnouncements {
  readonly #options: ModuleAnnouncementsOptions;
  #cancel: () => void = () => undefined;
  #current: Promise<void> = Promise.resolve();
  #isClosed = false;

  private constructor(options: ModuleAnnouncementsOptions) {
    this.#options = options;
  }

  /** Publishes at once, in the background: the program starts without its advertisement. */
  static start(options: ModuleAnnouncementsOptions): ModuleAnnouncements {
    const announcements = new ModuleAnnouncements(options);
    announcements.#publishNow();
    return announcements;
  }

  /** Waits for a publication that is under way. The records expire by themselves, since other processes may renew them. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancel();
    await this.#current;
  }

  #publishNow(): void {
    const { clock, log } = this.#options;
    this.#current = this.#publish()
      .catch((cause: unknown) => log.warn('the modules were not published; trying again later', { cause }))
      .finally(() => {
        if (!this.#isClosed) this.#cancel = clock.after(PUBLISH_INTERVAL_MS, () => this.#publishNow());
      });
  }

  async #publish(): Promise<void> {
    const { registry, services, url } = this.#options;
    const modules = services.modules();
    for (let from = 0; from < modules.length; from += MAX_DESCRIPTORS) {
      await registry.register(
        SYSTEM,
        modules.slice(from, from + MAX_DESCRIPTORS).map(({ name, version }) => ({
          name,
          vo: '',
          site: url,
          admin: '',
          wsdl: '',
          version,
          endpoint: [
            { uri: `${url}/RPC2`, encoding: 'xmlrpc' },
            { uri: `${url}/rpc`, encoding: 'jsonrpc' },
          ],
          item: [{ key: 'kind', value: 'module' }],
        })),
      );
    }
  }
}
