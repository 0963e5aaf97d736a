/** The link of a stack whose functions and companion share one process. */
import type { Clock } from '../clock';
import { CmbsError } from '../errors';
import {
  AWAY,
  LINK_ARGUMENTS,
  LINK_REPLIES,
  type Link,
  type LinkAction,
  type LinkArguments,
  type LinkReply,
} from './link';

/** What a companion offers. */
export interface Performer {
  perform<A extends LinkAction>(
    member: string,
    action: A,
    args: LinkArguments<A>,
    signal: AbortSignal,
  ): Promise<LinkReply<A>>;
}

/** `performer` gives the companion once it runs, undefined while it is away. */
export function inProcessLink(performer: () => Performer | undefined, clock: Clock): Link {
  return {
    async perform<A extends LinkAction>(
      member: string,
      action: A,
      args: LinkArguments<A>,
      options: { readonly deadlineMs: number; readonly signal?: AbortSignal },
    ): Promise<LinkReply<A>> {
      const companion = performer();
      if (companion === undefined) throw new CmbsError('unavailable', AWAY);
      const deadline = new AbortController();
      const cancel = clock.after(options.deadlineMs, () => deadline.abort());
      const signal =
        options.signal === undefined ? deadline.signal : AbortSignal.any([deadline.signal, options.signal]);
      try {
        const checked = LINK_ARGUMENTS[action].parse(args) as LinkArguments<A>;
        const reply = await Promise.race([companion.perform(member, action, checked, signal), aborted(signal)]);
        return LINK_REPLIES[action].parse(reply) as LinkReply<A>;
      } finally {
        cancel();
      }
    },
  };
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const give = (): void => reject(new CmbsError('deadline_exceeded', 'The companion did not answer in time.'));
    if (signal.aborted) give();
    else signal.addEventListener('abort', give, { once: true });
  });
}
