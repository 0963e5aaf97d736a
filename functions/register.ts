/** Registers one route with functions-framework. */
import { http, type HttpFunction } from '@google-cloud/functions-framework';
import { entryPointOf } from './deployment';
import { frameworkHandler } from './framework';
import { routeNamed } from './routes';

/** Under its name in the table, and under the name of its export, which deployments call it by. */
export function register(name: string): HttpFunction {
  const route = routeNamed(name);
  if (route === undefined) throw new Error(`There is no route ${name}.`);
  const handler = frameworkHandler(route);
  http(name, handler);
  http(entryPointOf(name), handler);
  return handler;
}
