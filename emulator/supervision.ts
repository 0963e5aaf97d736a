/** The messages between a supervisor and its program. */

export const STOP_SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** Program to supervisor: the program is ready, on this port. */
export interface ReadyMessage {
  readonly type: 'ready';
  readonly port: number;
}

/** Program to supervisor: do not start the program again after its end. */
export interface FinalMessage {
  readonly type: 'final';
}

/** Supervisor to program: stop. */
export interface StopMessage {
  readonly type: 'stop';
  readonly signal: string;
}

/** Sends a message to the supervisor, if the program has one. */
export function tellSupervisor(message: ReadyMessage | FinalMessage): void {
  // `stopRequested` notices when the supervisor has died.
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

/**
 * Resolves with the reason when the program has to stop: a signal, a message of the supervisor, or its death. A signal to
 * the process group arrives as a signal and as a message and counts once; a second signal ends the program at once.
 */
export function stopRequested(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of STOP_SIGNALS) process.once(name, () => resolve(name));
    if (process.channel === undefined) return;
    process.on('message', (message: StopMessage) => resolve(message.signal));
    process.once('disconnect', () => resolve('The supervisor has died'));
    if (!process.connected) resolve('The supervisor has died');
    // The channel must not keep the program alive.
    process.channel.unref();
  });
}
