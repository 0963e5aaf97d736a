/**
 * Addresses of members. They are checked here because the socket library is lenient: it reads port 70000 as 4464, and
 * asks the resolver for any text. A program's own exchange defines the schemes of its addresses.
 */
import { z } from 'zod';
import { CmbsError } from '../errors';
import { MAX_NAME_LENGTH } from '../limits';

/** Most characters of a socket's name: with the path of `CMBS_IPC_DIR` it has to fit into a Unix socket address. */
const MAX_IPC_NAME_LENGTH = 40;

export interface Address {
  readonly scheme: string;
  /** The canonical spelling, the same for every spelling of the address. */
  readonly text: string;
  /** `tcp` only: an IPv4 or IPv6 address without brackets, a DNS name, or `*` (all interfaces, to bind only). */
  readonly host?: string;
  /** `tcp` only; 0 means any free port, to bind only. */
  readonly port?: number;
  /** `ipc` only: the name of the socket in the directory of the deployment (`CMBS_IPC_DIR`). */
  readonly name?: string;
  /** `ipc` only: the path of the socket's file, which the address policy adds. */
  readonly path?: string;
}

export interface AddressUse {
  /** The address is to be bound, so `*` and the unspecified addresses are valid hosts. */
  readonly bind?: boolean;
  /** The port may be `*`: the system chooses a free port. */
  readonly anyPort?: boolean;
}

/** One form of address. */
export interface AddressScheme {
  /** The text before `://`, in lower case. */
  readonly name: string;
  /** Parses what follows `<name>://`. @throws CmbsError `bad_attribute` */
  readonly parse: (rest: string, use: AddressUse) => Address;
}

// Making a schema takes longer than using it.
const IPV4 = z.ipv4();
const IPV6 = z.ipv6();
const isIPv4 = (text: string): boolean => IPV4.safeParse(text).success;
const isIPv6 = (text: string): boolean => IPV6.safeParse(text).success;

const CONTROL_OR_SPACE = /[\p{Cc}\p{Z}]/u;
/** Characters of the caller's text that a refusal repeats: enough to recognise the text, too few to flood a log. */
const SHOWN = 80;

function bad(message: string): CmbsError {
  return new CmbsError('bad_attribute', message);
}

function shown(text: string): string {
  return JSON.stringify(text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text);
}

/** The forms of address that a program knows. */
export class AddressSchemes {
  readonly #byName = new Map<string, AddressScheme>();

  /** @throws Error when two schemes have the same name */
  constructor(schemes: readonly AddressScheme[]) {
    for (const scheme of schemes) {
      if (this.#byName.has(scheme.name)) throw new Error(`there are two schemes ${scheme.name}`);
      this.#byName.set(scheme.name, scheme);
    }
  }

  /** The scheme of an address; the rest of the address is not checked. @throws CmbsError `bad_attribute` */
  of(text: string): AddressScheme {
    const separator = text.indexOf('://');
    const scheme = separator < 1 ? undefined : this.#byName.get(text.slice(0, separator).toLowerCase());
    if (scheme !== undefined) return scheme;
    const known = [...this.#byName.keys()].map((name) => `${name}://`).join(', ');
    throw bad(`The address ${shown(text)} must start with one of ${known}.`);
  }

  /** @throws CmbsError `bad_attribute` that says what an address must look like */
  parse(text: string, use: AddressUse = {}): Address {
    if (CONTROL_OR_SPACE.test(text)) {
      throw bad(`The address ${shown(text)} has a space or a control character; remove it.`);
    }
    const { name, parse } = this.of(text);
    return parse(text.slice(name.length + 3), use);
  }
}

/**
 * Parses a ZeroMQ address.
 * @throws CmbsError `bad_attribute` that says what an address must look like
 * @example parseAddress('tcp://127.0.0.1:5010').port // 5010
 */
export const parseAddress = (text: string, use: AddressUse = {}): Address => ZEROMQ_SCHEMES.parse(text, use);

/**
 * The address to bind for an advertised address. `bindHost` (`CMBS_BIND_HOST`) replaces the host where members advertise
 * an address that the machine does not have, such as that of a load balancer.
 */
export function bindAddress(advertised: Address, bindHost?: string): Address {
  if (bindHost === undefined || bindHost === '' || advertised.host === undefined) return advertised;
  const host = isIPv6(bindHost) ? `[${bindHost}]` : bindHost;
  const port = advertised.port === 0 ? '*' : String(advertised.port);
  return parseAddress(`${advertised.scheme}://${host}:${port}`, { bind: true, anyPort: true });
}

const DNS_LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const UNSPECIFIED = new Set(['*', '0.0.0.0', '::']);

function isDnsName(host: string): boolean {
  if (host.length > MAX_NAME_LENGTH - 2) return false; // RFC 1035 §3.1: 253 characters as text
  const labels = host.split('.');
  // A name whose last label is a number is a mistyped IPv4 address (WHATWG URL, "ends in a number").
  return labels.every((label) => DNS_LABEL.test(label)) && !/^(?:\d+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? '');
}

function parseTcp(rest: string, use: AddressUse): Address {
  const match = /^(?:\[(?<v6>[^\]]*)\]|(?<name>[^:[\]]*)):(?<port>[^:]*)$/.exec(rest)?.groups;
  if (match === undefined) throw bad(`The address ${shown(`tcp://${rest}`)} must be tcp://host:port.`);
  const text = `tcp://${rest}`;

  const host = (match.v6 ?? match.name ?? '').toLowerCase();
  // An address with a zone (`fe80::1%eth0`) is link-local and names an interface of this machine.
  const known =
    match.v6 !== undefined ? isIPv6(host) && !host.includes('%') : host === '*' || isIPv4(host) || isDnsName(host);
  if (!known) {
    throw bad(`The host of ${shown(text)} must be an IPv4 address, an [IPv6 address] or a DNS name.`);
  }
  if (use.bind !== true && UNSPECIFIED.has(host)) {
    throw bad(`The host of ${shown(text)} stands for every interface; name the one that others reach.`);
  }

  const digits = match.port ?? '';
  const port = digits === '*' && use.anyPort === true ? 0 : /^\d{1,5}$/.test(digits) ? Number(digits) : -1;
  if (port > 65535 || port < 0 || (port === 0 && digits !== '*')) {
    throw bad(`The port of ${shown(text)} must be a number from 1 to 65535.`);
  }
  const hostText = host.includes(':') ? `[${host}]` : host;
  return { scheme: 'tcp', text: `tcp://${hostText}:${port === 0 ? '*' : String(port)}`, host, port };
}

/** A name without a path: callers choose a name in the operator's directory, never a place in the file system. */
const IPC_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

function parseIpc(name: string): Address {
  const text = `ipc://${name}`;
  if (name.length > MAX_IPC_NAME_LENGTH || !IPC_NAME.test(name)) {
    throw bad(
      `The address ${shown(text)} must be ipc:// and a name of ${MAX_IPC_NAME_LENGTH} letters, digits, dots, hyphens ` +
        'and underscores at most, which starts with a letter or digit; sockets are below CMBS_IPC_DIR only.',
    );
  }
  return { scheme: 'ipc', text, name };
}

export const TCP: AddressScheme = { name: 'tcp', parse: parseTcp };
/** A Unix socket, by its name in the directory of the deployment (`CMBS_IPC_DIR`). */
export const IPC: AddressScheme = { name: 'ipc', parse: parseIpc };
/** The schemes of a program without additional exchanges. */
export const ZEROMQ_SCHEMES = new AddressSchemes([TCP, IPC]);
