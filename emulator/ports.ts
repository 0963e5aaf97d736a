/** Ports of this machine. */
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * The range of free ports, just below the range of outgoing connections: otherwise the system might give a port to an
 * outgoing connection before the port is bound.
 */
const FIRST = 30_000;
const LAST = 32_767;

/** Ports that this process has returned, which may not be bound yet. */
const given = new Set<number>();

/** Lets members' sockets have any free port, for several deployments on one machine. */
export const ANY_PORT = { CMBS_PORT_RANGE: '1024-65535' } as const;

/** Ports of 127.0.0.1 that are free now. */
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

/** Parses a port from 1 to 65,535; undefined when the text is not a port. */
export function portOf(text: string): number | undefined {
  const port = Number(text);
  return /^\d{1,5}$/.test(text) && port >= 1 && port <= 65_535 ? port : undefined;
}

/** Rejects with the system's error when the port cannot be bound; without a host, on all addresses. */
export async function assertFree(port: number, host?: string): Promise<void> {
  const server = createServer();
  server.listen(port, host);
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
}

/** True for the error of a port that is in use. */
export const isTaken = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
