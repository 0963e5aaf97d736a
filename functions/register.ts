/** Registers one route with functions-framework. */
import { subscribe } from 'node:diagnostics_channel';
import type { IncomingMessage, Server } from 'node:http';
import { http, type HttpFunction } from '@google-cloud/functions-framework';
import { entryPointOf } from './deployment';
import { frameworkHandler } from './framework';
import { routeNamed } from './routes';

/**
 * Before our code runs, the framework would inflate and parse a body by its own rules, and print the body when that
 * fails. Without these two headers it leaves the body alone; our code reads the headers from `rawHeaders`, which keep
 * what the client sent. The channel reports the requests of every server in the process; the framework's server is the
 * one with an Express application.
 */
subscribe('http.server.request.start', (message) => {
  const { request, server } = message as { readonly request: IncomingMessage; readonly server: Server };
  if (!server.listeners('request').some((listener) => 'locals' in listener)) return;
  const { headers } = request;
  delete headers['content-type'];
  delete headers['content-encoding'];
});

/**
 * Registers a function under its name in the table of routes and under the name of its export, which deployments use.
 * @throws Error for a name that the table does not have
 */
export function register(name: string): HttpFunction {
  const route = routeNamed(name);
  if (route === undefined) throw new Error(`There is no route ${name}.`);
  const handler = frameworkHandler(route);
  http(name, handler);
  http(entryPointOf(name), handler);
  return handler;
}
