/** What a supervisor and the program that it runs tell each other, as the program sees it. */

export const STOP_SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** Program to supervisor: it answers, on this port. */
export interface ReadyMessage {
  readonly type: 'ready';
  readonly port: number;
}

/** Program to supervisor: it ends by intention, or for a reason that another start would meet again. */
export interface FinalMessage {
  readonly type: 'final';
}

/** Supervisor to program: stop in order. */
export interface StopMessage {
  readonly type: 'stop';
  readonly signal: string;
}

/** Sends a message to the supervisor; does nothing in a program that has none. */
export function tellSupervisor(message: ReadyMessage | FinalMessage): void {
  // A supervisor that has just died needs no message: its death is noticed by `stopRequested`.
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

/**
 * Resolves with the reason when the program has to stop: a signal, the supervisor's word, or the supervisor's death. A
 * signal to the whole process group comes both ways and counts once; a second direct signal ends the program at once.
 */
export function stopRequested(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of STOP_SIGNALS) process.once(name, () => resolve(name));
    if (process.channel === undefined) return;
    process.on('message', (message: StopMessage) => resolve(message.signal));
    process.once('disconnect', () => resolve('The supervisor has died'));
    if (!process.connected) resolve('The supervisor has died');
    // The channel alone must not keep a program alive that has stopped.
    process.channel.unref();
  });
}
