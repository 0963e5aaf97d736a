/**
 * The module `system`: which methods and modules there are, several calls in one, and the sessions of callers. Methods
 * have the names that clients of Clarens use, and those of the introspection of XML-RPC.
 */
import { CmbsError } from '../errors';
import { ExactNumber } from '../exact-json';
import type { JsonObject } from '../json';
import type { Principal } from '../principal';
import { CallRoom, MAX_REQUEST_CALLS } from './call-room';
import { DISCOVER, outcomeIn } from './calls';
import { Fault, FAULT } from './fault';
import type { MethodFlags, ServiceContext, ServiceMethod, ServiceModule } from './module';
import { faultEntry, MULTICALL } from './multicall';
import { openRpcDocument } from './open-rpc';
import type { Outcome } from './protocol';
import type { MethodDescription, Services } from './services';
import { statsMethod } from './statistics';
import type { Struct, Value } from './value';

/** Calls of one `system.multicall`, as in a batch of JSON-RPC. */
export const MAX_MULTICALL_CALLS = MAX_REQUEST_CALLS;

/** A caller's login, which an access token continues. */
export interface Session {
  readonly id: string;
  /** The access token, which is shown once. */
  readonly token: string;
  readonly expiresAt: Date;
}

/** Where callers log in and out. */
export interface Sessions {
  /**
   * Makes an access token for the principal, who has to be allowed to make one.
   * @throws CmbsError `forbidden`, `unauthenticated`
   */
  open(principal: Principal, signal: AbortSignal): Promise<Session>;
  /**
   * Deletes the access token that the principal's call came with.
   * @throws CmbsError `not_found`
   */
  close(principal: Principal, signal: AbortSignal): Promise<void>;
}

type Registry = Pick<Services, 'list' | 'describe' | 'refresh' | 'modules' | 'outcome' | 'statistics'>;

const READ: MethodFlags = { idempotent: true, callers: 'everybody' };
/** A limit on the digits that are written before the point: larger doubles are written with an exponent. */
const MAX_PLAIN_DOUBLE = 1e15;

/** The dispatcher has checked the arguments by the signature. */
const nameIn = (args: readonly Value[]): string => (args as readonly [string])[0];

/** The module `system` of a registry. It also lists methods that are registered later. */
export function systemModule(services: Registry, sessions?: Sessions): ServiceModule {
  return { name: 'system', methods: { ...introspection(services), ...several(services), ...login(sessions) } };
}

type Methods = Readonly<Record<string, ServiceMethod>>;

/** Methods under their names, and under those that XML-RPC clients use: `list_methods` is also `listMethods`. */
function inBothSpellings(methods: Methods): Methods {
  const camelCase = (name: string): string =>
    name.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase());
  const others = Object.entries(methods).map(([name, method]) => [camelCase(name), method] as const);
  return { ...methods, ...Object.fromEntries(others) };
}

function introspection(services: Registry): Methods {
  /** A method that may have come since the last call. */
  const described = async (name: string): Promise<MethodDescription> => {
    await services.refresh(name.split('.', 1)[0]);
    return services.describe(name);
  };
  // Everybody may ask for the document, which is long, as often as a multicall can.
  const documents = new WeakMap<readonly MethodDescription[], JsonObject>();
  return {
    ...inBothSpellings({
      list_methods: {
        documentation: 'Returns the names of all methods, also of those that the caller may not call.',
        signatures: [['array']],
        flags: READ,
        call: async () => {
          await services.refresh();
          return services.list().map(({ name }) => name);
        },
      },
      method_help: {
        documentation: 'Returns the documentation of the method whose name is given.',
        signatures: [['string', 'string']],
        flags: READ,
        call: async (_context, args) => (await described(nameIn(args))).documentation,
      },
      method_signature: {
        documentation:
          'Returns the signatures of the method whose name is given: an array of arrays, each the type of the ' +
          'result and then those of the arguments.',
        signatures: [['array', 'string']],
        flags: READ,
        call: async (_context, args) => (await described(nameIn(args))).signatures,
      },
      get_capabilities: {
        documentation: 'Returns the protocols and extensions that this server has, each with the URL of its text.',
        signatures: [['struct']],
        flags: READ,
        call: () => CAPABILITIES,
      },
    }),
    list_modules: {
      documentation:
        'Returns a struct for each module: its name, its version, whether it is built in, and the number of its ' +
        'methods.',
      signatures: [['array']],
      flags: READ,
      call: async () => {
        await services.refresh();
        return services
          .modules()
          .map(({ name, version, isBuiltIn, methods }) => ({ name, version, built_in: isBuiltIn, methods }));
      },
    },
    stats: statsMethod(() => services.statistics),
    discover: {
      documentation: `Returns the OpenRPC document of all methods. JSON-RPC clients call this method as ${DISCOVER}.`,
      signatures: [['struct']],
      flags: READ,
      call: async () => {
        await services.refresh();
        const methods = services.list();
        let document = documents.get(methods);
        if (document === undefined) documents.set(methods, (document = openRpcDocument(methods)));
        return document;
      },
    },
  };
}

const capability = (specUrl: string, specVersion: number): Struct => ({ specUrl, specVersion });

const CAPABILITIES: Struct = {
  xmlrpc: capability('http://www.xmlrpc.com/spec', 1),
  faults_interop: capability('http://xmlrpc-epi.sourceforge.net/specs/rfc.fault_codes.php', 20010516),
  introspection: capability('http://xmlrpc-c.sourceforge.net/introspection.html', 1),
  'system.multicall': capability('http://www.xmlrpc.com/discuss/msgReader$1208', 1),
  nil: capability('http://www.ontosys.com/xml-rpc/extensions.php', 1),
  json_rpc: capability('https://www.jsonrpc.org/specification', 2),
};

function several(services: Registry): Methods {
  return {
    multicall: {
      documentation:
        'Runs calls one after the other. The argument is an array of structs with methodName and params, at most ' +
        `${MAX_MULTICALL_CALLS}. Returns an array with an entry for each call: an array with the result, or a ` +
        'struct with faultCode and faultString. All calls together have the time of one call.',
      signatures: [['array', 'array']],
      flags: { callers: 'everybody' },
      call: async (context, args) => {
        const [calls] = args as readonly [readonly Value[]];
        if (calls.length > MAX_MULTICALL_CALLS) {
          throw new Fault(
            FAULT.invalidParams,
            `One ${MULTICALL} has at most ${MAX_MULTICALL_CALLS} calls; send several.`,
          );
        }
        const entries: Value[] = [];
        const room = context.room ?? new CallRoom();
        for (const call of calls) entries.push(entryOf(await outcomeInside(services, call, { ...context, room })));
        return entries;
      },
    },
  };
}

const isStruct = (value: Value): value is Struct =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

/** The outcome of one call of a multicall, which is a call of a method by a method. */
async function outcomeInside(
  services: Registry,
  call: Value,
  { room, ...context }: ServiceContext & { readonly room: CallRoom },
): Promise<Outcome> {
  if (!isStruct(call) || typeof call.methodName !== 'string' || !Array.isArray(call.params ?? [])) {
    return {
      value: new Fault(FAULT.invalidRequest, 'A call is a struct with a methodName and an array of params.'),
    };
  }
  if (call.methodName === MULTICALL) {
    return { value: new Fault(FAULT.invalidRequest, `${MULTICALL} does not call itself.`) };
  }
  const { methodName: _ofThis, depth = 0, ...caller } = context;
  const params = (call.params ?? []) as readonly Value[];
  const within = { ...caller, depth: depth + 1, way: 'method' as const };
  return outcomeIn(room, services, { method: call.methodName, params }, within);
}

function entryOf({ value, type }: Outcome): Value {
  if (value instanceof Fault) return faultEntry(value);
  return [type === 'double' && typeof value === 'number' ? asDouble(value) : value];
}

/** The signature of the inner call is not seen by the codec, which would write a whole number as an int. */
const asDouble = (value: number): number | ExactNumber =>
  Number.isInteger(value) && Math.abs(value) < MAX_PLAIN_DOUBLE ? new ExactNumber(`${value}.0`) : value;

function login(sessions: Sessions | undefined): Methods {
  const required = (): Sessions => {
    if (sessions !== undefined) return sessions;
    throw new CmbsError(
      'not_implemented',
      'No sessions are opened here; call the method over HTTP at /rpc of a deployment that takes access tokens ' +
        '(CMBS_IDENTITIES).',
    );
  };
  return {
    auth: {
      documentation:
        'Opens a session: makes an access token of the caller. Returns its id (session), the token, which is shown ' +
        'once and is sent as Authorization: Bearer, the time at which it expires, and the principal. Only over HTTP.',
      signatures: [['struct']],
      flags: { callers: 'known', secret: true },
      call: async ({ principal, signal }) => {
        const open = required();
        const { id, token, expiresAt } = await open.open(principal, signal);
        return { session: id, token, expires: expiresAt, principal: nameOf(principal) };
      },
    },
    logout: {
      documentation: 'Ends the session: deletes the access token that the call came with. Returns true.',
      signatures: [['boolean']],
      flags: { callers: 'known' },
      call: async ({ principal, signal }) => {
        if (principal.token === undefined) {
          throw new CmbsError('bad_request', 'The call came with no access token, so there is no session to end.');
        }
        await required().close(principal, signal);
        return true;
      },
    },
    whoami: {
      documentation:
        'Returns who the caller is: the principal, its kind and its name, and the id of the session if the call came ' +
        'with an access token.',
      signatures: [['struct']],
      flags: READ,
      call: ({ principal, session }) => {
        const { kind, name } = principal;
        return { principal: nameOf(principal), kind, name, ...(session === undefined ? {} : { session }) };
      },
    },
  };
}

const nameOf = ({ kind, name }: Principal): string => `${kind}:${name}`;
