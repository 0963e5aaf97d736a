/** What the sockets that bind have in common: how an address is taken, and given back so that it is free at once. */
import { lstat } from 'node:fs/promises';
import { connect } from 'node:net';
import { type Socket } from 'zeromq';
import { CmbsError } from '@cmbs/shared';
import { RELEASE_MS } from '@cmbs/shared/limits';
import { type Address } from '../transports';
import { codeOf } from './errno';
import { clockOf, type SocketEnvironment } from './options';
import { type Endpoint, resolveEndpoint } from './resolve';

function refused(address: Address, reason: string, advice: string, cause: unknown): CmbsError {
  return new CmbsError('conflict', `The socket ${address.text} cannot be opened: ${reason}; ${advice}.`, {
    details: { address: address.text, reason },
    cause,
  });
}

function bindError(address: Address, error: unknown): CmbsError {
  if (error instanceof CmbsError) return error;
  switch (codeOf(error)) {
    case 'EADDRINUSE':
      return refused(address, 'address in use', 'close the other socket or choose another port', error);
    case 'EACCES':
    case 'EPERM':
      return refused(address, 'permission denied', 'choose a port or path that the companion may use', error);
    case 'EADDRNOTAVAIL':
    case 'ENODEV':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return refused(address, 'not an address of this machine', 'choose one it has, or set CMBS_BIND_HOST', error);
    case 'ENOENT':
    case 'ENOTDIR':
      return refused(address, 'the directory of the path is not there', 'create it or choose another path', error);
    default:
      return refused(address, 'the system refuses it', 'see the log of the companion', error);
  }
}

/** True when a process accepts connections at the path. */
function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    const answer = (served: boolean): void => {
      probe.destroy();
      resolve(served);
    };
    probe.setTimeout(RELEASE_MS, () => answer(true));
    probe.once('connect', () => answer(true));
    probe.once('error', (error) => answer(codeOf(error) !== 'ECONNREFUSED'));
  });
}

/** libzmq deletes whatever is at the path of an `ipc` address before it binds; let it be a socket nobody serves. */
async function checkPath(address: Address, path: string): Promise<void> {
  let isSocket: boolean;
  try {
    isSocket = (await lstat(path)).isSocket();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  if (!isSocket) throw refused(address, 'a file that is not a socket is there', 'choose another path', undefined);
  if (await isServed(path)) {
    throw refused(address, 'address in use', 'close the other socket or choose another path', undefined);
  }
}

/**
 * Makes a socket and binds it.
 * @returns the socket, held by the context, and the endpoint with the port that the system chose
 * @throws CmbsError `conflict` with the reason in its message and in `details.reason`
 */
export async function bindSocket<S extends Socket>(
  address: Address,
  create: (ipv6: boolean) => S,
  environment: SocketEnvironment,
): Promise<{ socket: S; endpoint: string }> {
  let socket: S | undefined;
  try {
    const endpoint: Endpoint = await resolveEndpoint(address, clockOf(environment));
    if (address.path !== undefined) await checkPath(address, address.path);
    socket = environment.context.hold(create(endpoint.ipv6));
    await socket.bind(endpoint.text);
    return { socket, endpoint: socket.lastEndpoint ?? endpoint.text };
  } catch (error) {
    if (socket !== undefined) environment.context.release(socket);
    const shown = bindError(address, error);
    environment.log.warn('bind failed', { address: address.text, reason: shown.message, cause: error });
    throw shown;
  }
}

/**
 * Stops listening, waits until the system has the port back, and closes the socket; replies that were handed to it
 * still go out (`linger`).
 */
export async function releaseBound(
  socket: Socket,
  endpoint: string,
  environment: SocketEnvironment,
): Promise<void> {
  // Closed with its context, by a stop that could not wait.
  if (socket.closed) return;
  let cancel = (): void => undefined;
  const late = new Promise<'late'>((resolve) => {
    cancel = clockOf(environment).after(RELEASE_MS, () => resolve('late'));
  });
  try {
    const released = listenerClosed(socket);
    // Not `unbindSync`: zeromq 6.8.0 binds there (its issue 704). Not `unbind` either: it works on another thread
    // while a receive of ours is pending, and a ZeroMQ socket is not made for two. libzmq has one call for both ends.
    socket.disconnect(endpoint);
    if ((await Promise.race([released, late])) === 'late') {
      environment.log.warn('a port was not released in time', { address: endpoint });
    }
  } catch (error) {
    environment.log.error('closing a bound socket failed', { address: endpoint, cause: error });
  } finally {
    cancel();
    environment.context.release(socket);
  }
}

async function listenerClosed(socket: Socket): Promise<void> {
  try {
    const { events } = socket;
    for (;;) {
      const { type } = await events.receive();
      if (type === 'close' || type === 'end') return;
    }
  } catch (error) {
    if (!socket.closed) throw error; // a closed socket ends its observer with an error
  }
}
