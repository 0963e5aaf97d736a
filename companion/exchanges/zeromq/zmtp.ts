/**
 * The parts of ZMTP 3 that a relay reads (rfc.zeromq.org/spec/23): the greeting, the headers of frames, and commands. All
 * else passes through to libzmq.
 */

/** The types of our sockets. */
export type SocketType = 'ROUTER' | 'DEALER' | 'SUB' | 'XPUB';

/** The types of peers that fit each of them (RFC 28, RFC 29). */
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

/** Bytes of a header: one of flags, and a length of one byte or of eight. */
export const SHORT_HEADER = 2;
export const LONG_HEADER = 9;

/** The first byte of a message that begins or ends a subscription (RFC 29); the prefix follows. */
export const SUBSCRIBED = 1;
export const UNSUBSCRIBED = 0;

export type GreetingFault = 'not_zmtp' | 'zmtp_too_old' | 'unknown_mechanism';

/** What is wrong with a greeting whose first `length` bytes are known, as early as possible. */
export function greetingFault(bytes: Buffer, length: number): GreetingFault | undefined {
  if (length > 0 && bytes[0] !== 0xff) return 'not_zmtp';
  // ZMTP 1.0 has a length here; 2.0 names itself 1.
  if (length > 9 && bytes[9] !== 0x7f) return 'zmtp_too_old';
  if (length > VERSION_AT && (bytes[VERSION_AT] ?? 0) < MAJOR_VERSION) return 'zmtp_too_old';
  if (length < GREETING_BYTES) return undefined;
  const mechanism = bytes.toString('latin1', MECHANISM_AT, MECHANISM_AT + MECHANISM_BYTES);
  return mechanism.replace(/\0+$/, '') === 'NULL' ? undefined : 'unknown_mechanism';
}

/** The name of a command and the bytes after it; undefined when the body has no name. */
export function parseCommand(body: Buffer): { readonly name: string; readonly rest: Buffer } | undefined {
  const length = body[0] ?? 0;
  if (length === 0 || body.length < 1 + length) return undefined;
  return { name: body.toString('latin1', 1, 1 + length), rest: body.subarray(1 + length) };
}

type Properties = readonly { readonly name: string; readonly value: Buffer }[];

/** The properties of a READY command (RFC 23); undefined when they are malformed. */
export function readyProperties(metadata: Buffer): Properties | undefined {
  const properties: { name: string; value: Buffer }[] = [];
  for (let at = 0; at < metadata.length;) {
    const nameEnds = at + 1 + (metadata[at] ?? 0);
    if (nameEnds + 4 > metadata.length) return undefined;
    const valueEnds = nameEnds + 4 + metadata.readUInt32BE(nameEnds);
    if (valueEnds > metadata.length) return undefined;
    const value = metadata.subarray(nameEnds + 4, valueEnds);
    properties.push({ name: metadata.toString('latin1', at + 1, nameEnds).toLowerCase(), value });
    at = valueEnds;
  }
  return properties;
}

/** True when a peer with these properties fits a socket of ours. */
export function isFitting(type: SocketType, properties: Properties): boolean {
  const theirs = properties.findLast(({ name }) => name === 'socket-type')?.value.toString('latin1');
  return FITTING[type].includes(theirs ?? '');
}

/**
 * The READY command that libzmq gets for a peer, with nothing but the type of its socket. A ROUTER ignores all messages
 * of a second peer with the same `Identity` (RFC 28); without that property libzmq makes up an identity for each peer.
 */
export function readyFrame(properties: Properties): Buffer {
  const type = properties.findLast(({ name }) => name === 'socket-type')?.value ?? Buffer.alloc(0);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(type.length);
  const body = Buffer.concat([Buffer.from('\x05READY\x0bSocket-Type', 'latin1'), length, type]);
  return Buffer.concat([Buffer.from([COMMAND, body.length]), body]);
}
