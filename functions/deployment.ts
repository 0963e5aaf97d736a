/** The table of routes as a deployment needs it; `terraform/routes.json` is this list. */
import { ROUTES, type Access } from './routes';

export interface DeployedFunction {
  /** Name of the deployed function. */
  readonly name: string;
  /** The export that the platform calls: entry points are JavaScript names. */
  readonly entryPoint: string;
  readonly summary: string;
  /** Decides the service account. */
  readonly access: Access;
  /** Path templates: `{x}` is one segment; `/{path=**}` takes everything. */
  readonly paths: readonly string[];
  /** Values of `?action=` that lead here; absent: requests without one. */
  readonly actions?: readonly string[];
  /** Query parameter with which requests come here, whatever its value. */
  readonly flag?: string;
}

/** `member-start-l1` → `memberStartL1`. */
export function entryPointOf(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** In the order in which they are tried; the last takes what no other does. */
export function deployedFunctions(): readonly DeployedFunction[] {
  return ROUTES.map(({ name, paths, action, flag, summary, access }) => ({
    name,
    entryPoint: entryPointOf(name),
    summary,
    access,
    paths: paths.map((path) => path.replace('/{path}/…', '/{path=**}')),
    ...(action === undefined ? {} : { actions: action }),
    ...(flag === undefined ? {} : { flag }),
  }));
}
