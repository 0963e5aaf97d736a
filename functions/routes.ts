/**
 * The table of routes: which function answers which path and action. The local gateway dispatches requests by this
 * table, and functions-framework registers its functions. The URL map of a deployment and docs/reference/functions.md
 * are generated from it.
 */
import { CmbsError } from '@cmbs/shared';
import { BUILT_IN_LAYERS, type LayerDefinition, MESSAGES } from '@cmbs/shared/broker';
import type { App } from './app';
import { action } from './handlers/action';
import { health } from './handlers/health';
import { inbox } from './handlers/inbox';
import { occi } from './handlers/occi';
import { messageSend } from './handlers/message-send';
import { push } from './handlers/push';
import { queryInterface } from './handlers/query';
import { rpc } from './handlers/rpc';
import type { OcciRequest, OcciResponse } from './request';
import { answer, type ErrorBody } from './respond';
import { refusalBody } from './rpc-protocols';

/** Bytes of the body of a push: a publication of 10 MB in base64, its attributes, and the JSON around them. */
const MAX_PUSH_BODY_BYTES = 14 * 1024 * 1024;

/** Decoded pairs of a query string. */
export type Query = OcciRequest['query'];

/** Answers requests. @throws CmbsError for a refusal, which `serve` renders */
export type Handler = (request: OcciRequest, app: App) => Promise<OcciResponse>;

/** A row of the table. */
export interface Route {
  /** Name of the deployed function, and of its local URL `/fn/<name>/…`. */
  readonly name: string;
  /** `{x}` stands for one segment; `{x}/…` at the end for any number. A path ending with a slash is a collection. */
  readonly paths: readonly string[];
  /** Accepted values of `?action=`; the first is the canonical one. Absent: requests without an action. */
  readonly action?: readonly string[];
  /** A query parameter, with any value, that selects the function; absent: requests without one. */
  readonly flag?: string;
  readonly summary: string;
  readonly access: Access;
  /** The handler verifies callers itself, or answers everybody. */
  readonly isPublic?: true;
  /** The function calls methods of service modules, so that it is deployed with those of the deployment. */
  readonly callsMethods?: true;
  /** Bytes of a body at most, in place of the deployment's limit (`CMBS_MAX_BODY_BYTES`). */
  readonly maxBodyBytes?: number;
  /** The handler takes bodies with a content coding. */
  readonly takesCoded?: true;
  readonly handler: Handler;
  /** The body of an answer to a failure, in place of an OCCI rendering. */
  readonly errorBody?: ErrorBody;
}

/**
 * What a function can reach besides the store: nothing, the companion, or the companion and the topic bus. The function
 * that takes pushes reaches the store alone, under an account of its own. The value selects the service account.
 */
export type Access = 'store' | 'companion' | 'bus' | 'pushed';

const CATCH_ALL = 'occi';
const MEMBER_PATHS = ['/cmbs/member/', '/cmbs/member/{id}'];
const MESSAGE_PATHS = [MESSAGES, '/cmbs/message/{id}', '/cmbs/message/{mixin}/'];

/** The spellings of a layer's action: `start_l31` is also `start_l3.1`. */
const spellings = (verb: string, { name, aliases = [] }: LayerDefinition): readonly string[] =>
  [name, ...aliases].map((spelling) => `${verb}_${spelling}`);

function actionRoute(
  kind: 'member' | 'message',
  terms: readonly string[],
  access: Access,
  summary: string,
): Route {
  const canonical = terms[0] as string;
  return {
    name: `${kind}-${canonical.replaceAll('_', '-')}`,
    paths: kind === 'member' ? MEMBER_PATHS : MESSAGE_PATHS,
    action: terms,
    summary,
    access,
    handler: (request, app) =>
      request.method === 'OPTIONS' ? options(request, app, 'POST, OPTIONS') : action(request, app, terms),
  };
}

const accessOf = ({ channel }: LayerDefinition): Access => (channel === 'bus' ? 'bus' : 'companion');

/** The methods at a path, for a caller who may read the entity or collection there. */
async function options({ path, principal }: OcciRequest, app: App, methods: string): Promise<OcciResponse> {
  await app.entities.authorizePath(path, principal);
  return answer(204, undefined, { Allow: methods });
}

/** The table, in the order in which routes are matched. */
export const ROUTES: readonly Route[] = [
  {
    name: 'query',
    paths: ['/-/', '/.well-known/org/ogf/occi/-/'],
    summary: 'Categories: discover, define, change, delete; providers',
    access: 'store',
    handler: queryInterface,
  },
  {
    name: 'member-inbox',
    paths: ['/cmbs/member/{id}/inbox/', '/cmbs/member/{id}/inbox/{entry}'],
    summary: 'Inbox of a member: read, wait, follow, acknowledge',
    access: 'store',
    handler: inbox,
  },
  actionRoute('member', ['check_neighbors'], 'companion', 'Discover members behind the neighbours'),
  // The catch-all runs the actions of added layers.
  ...BUILT_IN_LAYERS.flatMap((layer) => [
    actionRoute('member', spellings('start', layer), 'companion', `Open the ${layer.name} socket`),
    actionRoute('member', spellings('stop', layer), 'companion', `Close the ${layer.name} socket`),
  ]),
  actionRoute('message', ['execute'], 'companion', 'Execute a message here'),
  ...BUILT_IN_LAYERS.map((layer) =>
    actionRoute('message', spellings('send', layer), accessOf(layer), `Send on ${layer.name}`),
  ),
  actionRoute('message', ['resend'], 'bus', 'Send a dead letter again'),
  actionRoute('message', ['purge'], 'store', 'Delete a dead letter'),
  {
    name: 'message-send',
    paths: [MESSAGES],
    flag: 'send',
    summary: 'Create messages and send them',
    access: 'bus',
    handler: (request, app) =>
      request.method === 'OPTIONS' ? options(request, app, 'POST, OPTIONS') : messageSend(request, app),
  },
  { name: 'member', paths: MEMBER_PATHS, summary: 'Members', access: 'companion', handler: occi },
  {
    name: 'message',
    paths: MESSAGE_PATHS,
    summary: 'Messages and their layer collections',
    access: 'store',
    handler: occi,
  },
  {
    name: 'rpc',
    paths: ['/rpc', '/RPC2'],
    summary: 'Calls of methods in JSON-RPC and XML-RPC',
    // What methods do: send messages, publish on topics.
    access: 'bus',
    callsMethods: true,
    takesCoded: true,
    handler: rpc,
    errorBody: refusalBody,
  },
  {
    name: 'topic-push',
    paths: ['/push/{subscription}'],
    summary: 'Topic messages that Pub/Sub pushes to members',
    access: 'pushed',
    callsMethods: true,
    isPublic: true,
    maxBodyBytes: MAX_PUSH_BODY_BYTES,
    handler: push,
  },
  {
    name: 'health',
    isPublic: true,
    paths: ['/healthz', '/readyz'],
    summary: 'Alive, ready',
    access: 'companion',
    handler: health,
  },
  {
    name: CATCH_ALL,
    paths: ['/{path}/…'],
    summary: 'Everything else: run-time kinds, mixins, links, unbound paths',
    access: 'bus',
    handler: occi,
  },
];

/** The refusal of a large body; names the setting, unless the route has a limit of its own. */
export function bodyTooLarge(route: Pick<Route, 'maxBodyBytes'>, most: number): CmbsError {
  const setting = route.maxBodyBytes === undefined ? ' (CMBS_MAX_BODY_BYTES)' : '';
  return new CmbsError('too_large', `A body has ${most} bytes at most${setting}; send less.`);
}

const BY_NAME = new Map(ROUTES.map((route) => [route.name, route]));

/** The route of a function; undefined for an unknown name. */
export function routeNamed(name: string): Route | undefined {
  return BY_NAME.get(name);
}

interface Matcher {
  readonly pattern: RegExp;
  readonly route: Route;
}

const MATCHERS: readonly Matcher[] = ROUTES.flatMap((route) =>
  route.paths.map((path) => ({
    route,
    pattern: new RegExp(
      `^${path
        .replace(/[.*+?^$()|[\]\\]/g, '\\$&')
        .replace('/{path}/…', '/.*')
        .replace(/\{\w+\}/g, '[^/]+')}$`,
    ),
  })),
);

/**
 * Refuses a request to the wrong function, since clients can call a deployed function directly. The catch-all takes every
 * request, and the function of an action checks the action itself.
 * @throws CmbsError `not_found` for the path of another function, `bad_action` for an action that the function lacks
 */
export function checkOwn(route: Route, { method, path, query }: OcciRequest): void {
  if (route.name === CATCH_ALL) return;
  if (!MATCHERS.some((matcher) => matcher.route === route && matcher.pattern.test(path))) {
    throw new CmbsError(
      'not_found',
      `The function ${route.name} has nothing at this path; ask the deployment's public URL.`,
    );
  }
  if (route.action === undefined && method === 'POST' && query.some(([name]) => name === 'action')) {
    throw new CmbsError(
      'bad_action',
      `The function ${route.name} runs no actions; ask the function ${CATCH_ALL}.`,
    );
  }
}

/** Whether a function other than the catch-all answers the path. */
export const isOwnPath = (path: string): boolean =>
  MATCHERS.some(({ route, pattern }) => route.name !== CATCH_ALL && pattern.test(path));

/** The function that answers a request, whatever its method; the catch-all when no other does. */
export function routeFor(path: string, query: Query): Route {
  const action = query.find(([name]) => name === 'action')?.[1];
  const takes = (route: Route): boolean => {
    if (route.name === CATCH_ALL) return true;
    if (route.action !== undefined) return action !== undefined && route.action.includes(action);
    if (action !== undefined) return false;
    return route.flag === undefined || query.some(([name]) => name === route.flag);
  };
  for (const { pattern, route } of MATCHERS) if (takes(route) && pattern.test(path)) return route;
  return BY_NAME.get(CATCH_ALL) as Route;
}
