/**
 * ZMTP 3.0 without security, as bytes (rfc.zeromq.org/spec/23): what both sides of every connection say first, and how
 * a message is written. Reading is in frame-reader.ts.
 *
 * We name 3.0 and not 3.1: then every peer subscribes by messages, and none by commands.
 */

/** The types of our sockets. */
export type SocketType = 'ROUTER' | 'DEALER' | 'SUB' | 'XPUB';

/** Whom each of them may meet (RFC 28, RFC 29). */
const FITTING: Readonly<Record<SocketType, readonly string[]>> = {
  ROUTER: ['REQ', 'DEALER', 'ROUTER'],
  DEALER: ['REP', 'DEALER', 'ROUTER'],
  SUB: ['PUB', 'XPUB'],
  XPUB: ['SUB', 'XSUB'],
};

export const GREETING_BYTES = 64;
const VERSION_AT = 10;
const MECHANISM_AT = 12;
const MECHANISM_BYTES = 20;
const MAJOR_VERSION = 3;

/** The flags of a frame. */
export const MORE = 1;
export const LONG = 2;
export const COMMAND = 4;

/** The first byte of a message by which a peer subscribes; the prefix follows. */
export const SUBSCRIBED = 1;
export const UNSUBSCRIBED = 0;

/** Bytes of a header: flags, and the length in one byte or in eight. */
export const LONGEST_HEADER = 9;

/** Bytes of a body up to which it is copied behind its header: two writes would cost more. */
const COPIED_BYTES = 4096;

export function greeting(): Buffer {
  const bytes = Buffer.alloc(GREETING_BYTES);
  bytes[0] = 0xff;
  bytes[9] = 0x7f;
  bytes[VERSION_AT] = MAJOR_VERSION;
  bytes.write('NULL', MECHANISM_AT, 'latin1');
  return bytes;
}

export type GreetingFault = 'not_zmtp' | 'zmtp_too_old' | 'unknown_mechanism';

/** What is wrong with a greeting of which the first `length` bytes are there; as early as that can be seen. */
export function greetingFault(bytes: Buffer, length: number): GreetingFault | undefined {
  if (length > 0 && bytes[0] !== 0xff) return 'not_zmtp';
  // ZMTP 1.0 has a length here; 2.0 names itself 1.
  if (length > 9 && bytes[9] !== 0x7f) return 'zmtp_too_old';
  if (length > VERSION_AT && (bytes[VERSION_AT] ?? 0) < MAJOR_VERSION) return 'zmtp_too_old';
  if (length < GREETING_BYTES) return undefined;
  const mechanism = bytes.toString('latin1', MECHANISM_AT, MECHANISM_AT + MECHANISM_BYTES);
  return mechanism.replace(/\0+$/, '') === 'NULL' ? undefined : 'unknown_mechanism';
}

export function readyCommand(type: SocketType): Buffer {
  const value = Buffer.alloc(4);
  value.writeUInt32BE(type.length);
  const body = Buffer.concat([Buffer.from('\x05READY\x0bSocket-Type', 'latin1'), value, Buffer.from(type)]);
  return Buffer.concat([Buffer.from([COMMAND, body.length]), body]);
}

/** The name of a command and what follows, or undefined where the bytes have none. */
export function parseCommand(body: Buffer): { readonly name: string; readonly rest: Buffer } | undefined {
  const length = body[0] ?? 0;
  if (length === 0 || body.length < 1 + length) return undefined;
  return { name: body.toString('latin1', 1, 1 + length), rest: body.subarray(1 + length) };
}

/** The type of the peer's socket in what follows `READY`; undefined where that is malformed or names none. */
function socketTypeIn(metadata: Buffer): string | undefined {
  let type: string | undefined;
  for (let at = 0; at < metadata.length;) {
    const nameEnds = at + 1 + (metadata[at] ?? 0);
    if (nameEnds + 4 > metadata.length) return undefined;
    const name = metadata.toString('latin1', at + 1, nameEnds);
    const valueEnds = nameEnds + 4 + metadata.readUInt32BE(nameEnds);
    if (valueEnds > metadata.length) return undefined;
    if (name.toLowerCase() === 'socket-type') type = metadata.toString('latin1', nameEnds + 4, valueEnds);
    at = valueEnds;
  }
  return type;
}

/** True when the `READY` of a peer names a socket that may talk to ours. */
export function isFitting(type: SocketType, metadata: Buffer): boolean {
  return FITTING[type].includes(socketTypeIn(metadata) ?? '');
}

/** @param context what came with the `PING`; at most 16 bytes of it are given back (RFC 37) */
export function pongCommand(context: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from('\x04PONG', 'latin1'), context.subarray(0, 16)]);
  return Buffer.concat([Buffer.from([COMMAND, body.length]), body]);
}

/** The bytes of a message: one buffer for what is small, and large bodies uncopied behind their headers. */
export function encodeMessage(frames: readonly (Buffer | string)[]): Buffer[] {
  const parts: Buffer[] = [];
  let small = 0;
  const lengths = frames.map((body) => {
    const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length;
    small += LONGEST_HEADER + (length > COPIED_BYTES ? 0 : length);
    return length;
  });
  let buffer = Buffer.allocUnsafe(small);
  let at = 0;
  for (const [index, body] of frames.entries()) {
    const flags = index < frames.length - 1 ? MORE : 0;
    const length = lengths[index] as number;
    if (length > 255) {
      buffer[at] = flags | LONG;
      buffer.writeUInt32BE(0, at + 1); // no message of ours has four gigabytes
      buffer.writeUInt32BE(length, at + 5);
      at += LONGEST_HEADER;
    } else {
      buffer[at] = flags;
      buffer[at + 1] = length;
      at += 2;
    }
    if (length > COPIED_BYTES) {
      parts.push(buffer.subarray(0, at), typeof body === 'string' ? Buffer.from(body) : body);
      buffer = buffer.subarray(at);
      at = 0;
    } else if (typeof body === 'string') {
      at += buffer.write(body, at);
    } else {
      at += body.copy(buffer, at);
    }
  }
  if (at > 0) parts.push(buffer.subarray(0, at));
  return parts;
}
