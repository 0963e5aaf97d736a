/** Registers one route with functions-framework. */
import { subscribe } from 'node:diagnostics_channel';
import type { IncomingMessage, Server } from 'node:http';
import { http, type HttpFunction } from '@google-cloud/functions-framework';
import { entryPointOf } from './deployment';
import { frameworkHandler } from './framework';
import { routeNamed } from './routes';

/**
 * The framework would inflate, parse and, when that fails, print bodies by its own rules before our code runs. Without
 * these fields it leaves a body alone; ours are read from `rawHeaders`, which have what the client sent. The channel
 * has the requests of every server in the process; the framework's is the one that runs an Express application.
 */
subscribe('http.server.request.start', (message) => {
  const { request, server } = message as { readonly request: IncomingMessage; readonly server: Server };
  if (!server.listeners('request').some((listener) => 'locals' in listener)) return;
  const { headers } = request;
  delete headers['content-type'];
  delete headers['content-encoding'];
});

/** Under its name in the table, and under the name of its export, which deployments call it by. */
export function register(name: string): HttpFunction {
  const route = routeNamed(name);
  if (route === undefined) throw new Error(`There is no route ${name}.`);
  const handler = frameworkHandler(route);
  http(name, handler);
  http(entryPointOf(name), handler);
  return handler;
}
