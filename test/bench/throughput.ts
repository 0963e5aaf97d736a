/** Messages through a broker, from the publisher to the consumer. */

/** A publisher with a consumer at the other end. */
export interface Transport {
  /** Resolves when the receiving side has confirmed the message. */
  publish(): Promise<unknown>;
  /** Resolves when as many messages as were published since the start have been consumed and acknowledged. */
  drained(published: number): Promise<void>;
  close(): Promise<void>;
}

/** Keeps `window` publications in flight; messages per second until the last one is consumed. */
export function throughput(window: number, ms: number): (transport: Transport) => Promise<number> {
  const published = new Map<Transport, number>();
  return async (transport) => {
    const before = published.get(transport) ?? 0;
    let done = 0;
    const started = performance.now();
    const one = async (): Promise<void> => {
      while (performance.now() - started < ms) {
        await transport.publish();
        done += 1;
      }
    };
    await Promise.all(Array.from({ length: window }, one));
    published.set(transport, before + done);
    await transport.drained(before + done);
    return (done * 1000) / (performance.now() - started);
  };
}
