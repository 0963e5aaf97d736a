/**
 * The one table: which function answers which path and action. The local gateway dispatches by it, the framework
 * registers by it, and the deployment's URL map and docs/reference/functions.md are made from it.
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
import type { OcciRequest, OcciResponse } from './request';
import { answer } from './respond';

/** Bytes of the body of a push: a publication of 10 MB in base64, its attributes, and what wraps them. */
const MAX_PUSH_BODY_BYTES = 14 * 1024 * 1024;

/** Decoded pairs of a query string. */
export type Query = OcciRequest['query'];

export type Handler = (request: OcciRequest, app: App) => Promise<OcciResponse>;

export interface Route {
  /** Name of the deployed function, and of its local URL `/fn/<name>/…`. */
  readonly name: string;
  /** `{x}` stands for one segment; `{x}/…` at the end for any number. A path ending with a slash is a collection. */
  readonly paths: readonly string[];
  /** Accepted values of `?action=`; the first is the canonical one. Absent: requests without an action. */
  readonly action?: readonly string[];
  /** The query parameter, whatever its value, with which requests come here; absent: requests without one. */
  readonly flag?: string;
  readonly summary: string;
  readonly access: Access;
  /** Bytes of a body, where the deployment's own limit (`CMBS_MAX_BODY_BYTES`) does not count. */
  readonly maxBodyBytes?: number;
  readonly handler: Handler;
}

/**
 * What a function reaches besides the store, and so which service account it is deployed with: nothing, the companion,
 * or the companion and the topic bus. What is pushed to runs under an account of its own.
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

/** The methods at a path, for a caller who may read what is there. */
async function options({ path, principal }: OcciRequest, app: App, methods: string): Promise<OcciResponse> {
  await app.entities.authorizeOptions(path, principal);
  return answer(204, undefined, { Allow: methods });
}

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
    summary: 'What a member received: read, wait, follow, acknowledge',
    access: 'store',
    handler: inbox,
  },
  actionRoute('member', ['check_neighbors'], 'companion', 'Discover members behind the neighbours'),
  // The actions of other layers go to the catch-all.
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
    name: 'topic-push',
    paths: ['/push/{subscription}'],
    summary: 'Topic messages that Pub/Sub pushes to members',
    access: 'pushed',
    maxBodyBytes: MAX_PUSH_BODY_BYTES,
    handler: push,
  },
  {
    name: 'health',
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

/** A refusal that names the setting which decides, where one does. */
export function bodyTooLarge(route: Pick<Route, 'maxBodyBytes'>, most: number): CmbsError {
  const setting = route.maxBodyBytes === undefined ? ': CMBS_MAX_BODY_BYTES says how many' : '';
  return new CmbsError('too_large', `A body has ${most} bytes at most${setting}.`);
}

const BY_NAME = new Map(ROUTES.map((route) => [route.name, route]));

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
 * Refuses a request that came to the wrong function, which a deployed one can be called with: `not_found` for a path
 * that is not its own, `bad_action` for an action where it carries out none. The catch-all takes everything, and an
 * action's function checks the action itself.
 */
export function checkOwn(route: Route, { method, path, query }: OcciRequest): void {
  if (route.name === CATCH_ALL) return;
  if (!MATCHERS.some((matcher) => matcher.route === route && matcher.pattern.test(path))) {
    throw new CmbsError('not_found', `The function ${route.name} has nothing at this path.`);
  }
  if (route.action === undefined && method === 'POST' && query.some(([name]) => name === 'action')) {
    throw new CmbsError('bad_action', `The function ${route.name} carries out no actions; ask ${CATCH_ALL}.`);
  }
}

/** Whether a function other than the catch-all has the path. */
export const isOwnPath = (path: string): boolean =>
  MATCHERS.some(({ route, pattern }) => route.name !== CATCH_ALL && pattern.test(path));

/** The function that takes a request; the catch-all takes what no other does. Methods do not count. */
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
