/** Ports of this machine. */
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Where free ports are looked for: just below the range from which the system gives outgoing connections theirs, as it
 * might give them one between our looking and somebody's binding.
 */
const FIRST = 30_000;
const LAST = 32_767;

/** Ports that this process has given away; who asked may not have come to binding them. */
const given = new Set<number>();

/** The setting of a deployment whose members' sockets are bound to whatever port is free, beside other deployments. */
export const ANY_PORT = { CMBS_PORT_RANGE: '1024-65535' } as const;

/** Ports of 127.0.0.1 that nobody has now. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const ports: number[] = [];
  const first = Math.floor(Math.random() * (LAST - FIRST + 1));
  for (let tried = 0; tried <= LAST - FIRST && ports.length < count; tried++) {
    const port = FIRST + ((first + tried) % (LAST - FIRST + 1));
    if (given.has(port)) continue;
    given.add(port);
    try {
      await assertFree(port, '127.0.0.1');
      ports.push(port);
    } catch (error) {
      given.delete(port);
      if (!isTaken(error)) throw error;
    }
  }
  if (ports.length < count) throw new Error(`fewer than ${count} ports from ${FIRST} to ${LAST} are free`);
  return ports;
}

/** 1 to 65,535, as somebody types it; undefined when it is none. */
export function portOf(text: string): number | undefined {
  const port = Number(text);
  return /^\d{1,5}$/.test(text) && port >= 1 && port <= 65_535 ? port : undefined;
}

/** Rejects with what the system says when nothing can listen there; on all addresses without a host. */
export async function assertFree(port: number, host?: string): Promise<void> {
  const server = createServer();
  server.listen(port, host);
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
}

/** Whether it is because something else listens there. */
export const isTaken = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
