/** ZMTP 3.0 by hand over TCP, for frames that no library would send. */
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';

/** The greeting and the READY command of a ZMTP 3.0 peer without security (RFC 23). */
export function handshake(type: string): Buffer {
  const greeting = Buffer.alloc(64);
  greeting[0] = 0xff;
  greeting[9] = 0x7f;
  greeting[10] = 3;
  greeting.write('NULL', 12);
  const value = Buffer.alloc(4);
  value.writeUInt32BE(type.length);
  const ready = Buffer.concat([Buffer.from('\x05READY\x0bSocket-Type', 'latin1'), value, Buffer.from(type)]);
  return Buffer.concat([greeting, Buffer.from([4, ready.length]), ready]);
}

export const MORE = 1;
export const COMMAND = 4;
const LONG = 2;

/** A frame, possibly incomplete: `body` can be shorter than `length`. */
export function frame(body: Buffer | string, flags = 0, length = Buffer.byteLength(body)): Buffer {
  const header = Buffer.alloc(9);
  header[0] = flags | LONG;
  header.writeBigUInt64BE(BigInt(length), 1);
  return Buffer.concat([header, Buffer.from(body)]);
}

/** Connects and resolves after the handshake of both sides. Later bytes are read and dropped. */
export async function rawPeer(address: string, type: string): Promise<Socket> {
  const socket = connect(Number(new URL(address).port), '127.0.0.1');
  socket.on('error', () => undefined); // the other side may close the connection
  await once(socket, 'connect');
  socket.write(handshake(type));
  const cut = once(socket, 'close').then(() => {
    throw new Error('the connection was cut before the handshake');
  });
  cut.catch(() => undefined); // later it may be
  let received = 0;
  while (received <= 64) {
    const [chunk] = (await Promise.race([once(socket, 'data'), cut])) as [Buffer];
    received += chunk.length;
  }
  socket.resume();
  return socket;
}

/** Writes `bytes` repeatedly, as fast as the peer reads, until the socket is closed or `isOver`. */
export async function flood(socket: Socket, bytes: Buffer, isOver: () => boolean): Promise<void> {
  while (!socket.destroyed && !isOver()) {
    if (!socket.write(bytes)) await drained(socket);
    else await new Promise(setImmediate);
  }
}

/** Resolves when the socket accepts more bytes, is closed, or has accepted none for 100 ms. */
function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    const timer = setTimeout(done, 100);
    socket.once('drain', done);
    socket.once('close', done);
  });
}
