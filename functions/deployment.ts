/** The table of routes in the form that a deployment needs; `terraform/routes.json` is this list. */
import { ROUTES, type Access } from './routes';

/** One function of a deployment. */
export interface DeployedFunction {
  /** Name of the deployed function. */
  readonly name: string;
  /** The export that the platform calls, a JavaScript name. */
  readonly entryPoint: string;
  readonly summary: string;
  /** Selects the service account. */
  readonly access: Access;
  /** Path templates: `{x}` is one segment, `/{path=**}` any path. */
  readonly paths: readonly string[];
  /** Values of `?action=` that select the function; absent: requests without an action. */
  readonly actions?: readonly string[];
  /** Query parameter, with any value, that selects the function. */
  readonly flag?: string;
  /** Present for a function that is deployed with the service modules. */
  readonly callsMethods?: true;
}

/** `member-start-l1` → `memberStartL1`. */
export function entryPointOf(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** In the order in which a request is matched; the last one answers what no other does. */
export function deployedFunctions(): readonly DeployedFunction[] {
  return ROUTES.map(({ name, paths, action, flag, summary, access, callsMethods }) => ({
    name,
    entryPoint: entryPointOf(name),
    summary,
    access,
    paths: paths.map((path) => path.replace('/{path}/…', '/{path=**}')),
    ...(action === undefined ? {} : { actions: action }),
    ...(flag === undefined ? {} : { flag }),
    ...(callsMethods === undefined ? {} : { callsMethods }),
  }));
}
