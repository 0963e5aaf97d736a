import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as entryPoints from '@cmbs/functions';
import { deployedFunctions, type DeployedFunction } from '@cmbs/functions/deployment';
import { routeFor } from '@cmbs/functions/routes';
import { PubsubNames } from '../../shared/bus/pubsub/names';
import { parseOidcConfig } from '@cmbs/shared/access';
import { CLOUD_SETTINGS, readCloudConfig } from '@cmbs/shared/config';
import { Locals, type Value } from './hcl';
import { HclParser } from './hcl-parser';
import { terraform, itWithTerraform } from './terraform-runs';
import { notEmpty } from '../not-empty';

const ROOT = join(__dirname, '..', '..');
const TERRAFORM = join(ROOT, 'terraform');

const read = (...path: readonly string[]): string => readFileSync(join(TERRAFORM, ...path), 'utf8');

const filesEndingIn = (...endings: readonly string[]): readonly string[] =>
  readdirSync(TERRAFORM, { recursive: true, encoding: 'utf8' })
    .filter((path) => !path.includes('.terraform') && endings.some((ending) => path.endsWith(ending)))
    .sort();

type Body = Readonly<Record<string, unknown>>;

const parser = new HclParser();
afterAll(() => parser.close());

const parsed = new Map<string, Promise<Body>>();

/** The blocks of a file, which is parsed once for all tests. */
function blocksOf(...path: readonly string[]): Promise<Body> {
  const file = join(...path);
  const known = parsed.get(file) ?? parser.parse(file, read(file));
  parsed.set(file, known);
  return known;
}

async function bodiesOf(type: string, ...path: readonly string[]): Promise<readonly (readonly [string, Body])[]> {
  const labelled = ((await blocksOf(...path))[type] ?? {}) as Readonly<Record<string, readonly Body[]>>;
  return Object.entries(labelled).map(([name, [body = {}]]) => [name, body]);
}

async function resourceOf(type: string, name: string, ...path: readonly string[]): Promise<Body> {
  const resources = (await blocksOf(...path)).resource as Record<string, Record<string, readonly Body[]>>;
  return resources[type]?.[name]?.[0] ?? {};
}

describe("Terraform's files", () => {
  const modules = readdirSync(join(TERRAFORM, 'modules')).map((name) => join('modules', name));

  it.each(filesEndingIn('.tf', '.tftest.hcl', '.tfvars'))('%s can be parsed', async (path) => {
    expect(Object.keys(await blocksOf(path))).not.toHaveLength(0);
  });

  it.each(['.', ...modules])('%s gives each variable a type and a description', async (module) => {
    for (const [name, { type, description }] of notEmpty(await bodiesOf('variable', module, 'variables.tf'))) {
      expect([name, type, description]).toEqual([name, expect.any(String), expect.stringMatching(/\.$/)]);
    }
  });

  it.each(['.', ...modules.filter((module) => existsSync(join(TERRAFORM, module, 'outputs.tf')))])(
    '%s gives each output a description',
    async (module) => {
      for (const [name, { description }] of notEmpty(await bodiesOf('output', module, 'outputs.tf'))) {
        expect([name, description]).toEqual([name, expect.stringMatching(/\.$/)]);
      }
    },
  );

  it('check every variable that a user sets', async () => {
    const unchecked = notEmpty(await bodiesOf('variable', 'variables.tf'))
      .filter(([, { type, validation }]) => type !== '${bool}' && validation === undefined)
      .map(([name]) => name);
    expect(unchecked).toEqual([]);
  });

  it.each(filesEndingIn('.tfvars').filter((path) => /^(environments|tests)\//.test(path)))(
    '%s sets only variables that exist, and all without a default',
    async (path) => {
      const variables = await bodiesOf('variable', 'variables.tf');
      const set = Object.keys(await blocksOf(path));
      expect(variables.map(([name]) => name)).toEqual(expect.arrayContaining(set));
      const required = variables.filter(([, body]) => !('default' in body)).map(([name]) => name);
      expect(set).toEqual(expect.arrayContaining(required));
    },
  );

  it('grant these roles and no others (tests/least-privilege.tftest.hcl says what each role allows)', async () => {
    const grants: string[] = [];
    for (const path of filesEndingIn('.tf')) {
      const resources = ((await blocksOf(path)).resource ?? {}) as Record<string, Record<string, readonly Body[]>>;
      for (const [type, named] of Object.entries(resources).filter(([one]) => /_iam_(?!custom_role)/.test(one))) {
        for (const [name, [{ role } = {}]] of Object.entries(named))
          grants.push(`${type}.${name} ${String(role)}`);
      }
    }
    expect(grants.sort()).toEqual([
      'google_artifact_registry_repository_iam_member.build roles/artifactregistry.writer',
      'google_artifact_registry_repository_iam_member.companion roles/artifactregistry.reader',
      'google_cloud_run_v2_service_iam_member.invoker roles/run.invoker',
      'google_project_iam_member.build_copies roles/storage.objectViewer',
      'google_project_iam_member.build_logs roles/logging.logWriter',
      'google_project_iam_member.companion_logs roles/logging.logWriter',
      'google_project_iam_member.companion_topics ${google_project_iam_custom_role.companion.name}',
      'google_project_iam_member.publisher ${google_project_iam_custom_role.publisher.name}',
      'google_project_iam_member.pubsub_agent_subscriber roles/pubsub.subscriber',
      'google_project_iam_member.store roles/datastore.user',
      'google_pubsub_topic_iam_member.dead_letters roles/pubsub.publisher',
      'google_secret_manager_secret_iam_member.admin_password roles/secretmanager.secretAccessor',
      'google_secret_manager_secret_iam_member.readers roles/secretmanager.secretAccessor',
      'google_service_account_iam_member.push_act_as roles/iam.serviceAccountUser',
      'google_service_account_iam_member.push_tokens roles/iam.serviceAccountTokenCreator',
      'google_storage_bucket_iam_member.build roles/storage.objectViewer',
    ]);
  });

  itWithTerraform('are formatted', () => {
    expect(terraform(TERRAFORM, ['fmt', '-check', '-recursive'])).toBe('');
  });
});

describe('terraform/routes.json', () => {
  const path = join(TERRAFORM, 'routes.json');

  it('equals the table of routes (after a change: UPDATE=1, then npm run format)', () => {
    if (process.env.UPDATE === '1') writeFileSync(path, JSON.stringify(deployedFunctions()));
    expect(JSON.parse(read('routes.json'))).toEqual(deployedFunctions());
  });

  it('names only entry points that exist', () => {
    expect(Object.keys(entryPoints)).toEqual(
      expect.arrayContaining(deployedFunctions().map(({ entryPoint }) => entryPoint)),
    );
  });
});

interface Match {
  readonly path: string;
  readonly template: boolean;
  readonly parameter: string | null;
  readonly value: string | null;
}

interface Rule {
  readonly priority: number;
  readonly function: string;
  readonly matches: readonly Match[];
}

interface UrlMap {
  readonly rules: readonly Rule[];
  readonly catchAll: string;
}

/** The variables that the routing of the module `layout` reads, with the defaults of their types. */
const routingVariables = (
  functions: readonly DeployedFunction[],
  pushThroughLoadBalancer: boolean,
): Record<string, Value> => ({
  routes: functions.map((route) => ({ actions: [], flag: null, ...route })),
  push_through_load_balancer: pushThroughLoadBalancer,
});

async function urlMapOf(functions: readonly DeployedFunction[], pushThroughLoadBalancer = false): Promise<UrlMap> {
  const [sources] = (await blocksOf('modules', 'layout', 'routing.tf')).locals as [Record<string, string>];
  const locals = new Locals(parser, sources, routingVariables(functions, pushThroughLoadBalancer));
  return {
    rules: (await locals.get('url_rules')) as unknown as readonly Rule[],
    catchAll: (await locals.get('catch_all')) as string,
  };
}

/**
 * One segment of a path, as `*` in a path template matches it: every unescaped character of a path except an
 * asterisk.
 */
const SEGMENT = "[A-Za-z0-9._~%!$&'()+,;:@=-]+";

function takes({ path, template, parameter, value }: Match, target: URL): boolean {
  const pattern = path.replace(/[.+?^$()|[\]\\{}]/g, '\\$&').replaceAll('*', () => SEGMENT);
  const isPath = template ? new RegExp(`^${pattern}$`).test(target.pathname) : path === target.pathname;
  if (parameter === null) return isPath;
  const given = target.searchParams.get(parameter);
  return isPath && (value === '*' ? given !== null : given === value);
}

/** The function to which the load balancer sends a request: the first rule by priority that matches. */
function pick({ rules, catchAll }: UrlMap, target: string): string {
  const url = new URL(target, 'https://cmbs.example.com');
  const inOrder = [...rules].sort((one, other) => one.priority - other.priority);
  return inOrder.find(({ matches }) => matches.some((match) => takes(match, url)))?.function ?? catchAll;
}

const IDS = ['016ad860-2a9a-504f-8861-aeafd0b2ae29', 'a.b_c~d!e$f&g(h)i+j,k;l=m:n@o', 'one%20two'];
const OTHER_PATHS = [
  '/',
  '/-',
  '/-/query',
  '/cmbs/',
  '/cmbs/member',
  '/cmbs/member/one/two',
  '/cmbs/member/one/inbox',
  '/cmbs/member/one/inbox/two/three',
  '/cmbs/message/one/two/',
  '/cmbs/neighbor/one',
  '/push/',
  '/push/one/two',
  '/readyz/',
  '/storage/one',
];

const PUSHED: DeployedFunction = {
  name: 'topic-push',
  entryPoint: 'topicPush',
  summary: 'Takes what Pub/Sub pushes',
  access: 'pushed',
  paths: ['/push/{subscription}'],
};

describe('the URL map', () => {
  const functions = deployedFunctions();
  const actions = [...new Set(functions.flatMap((one) => one.actions ?? []))];
  const isPushed = new Map(functions.map(({ name, access }) => [name, access === 'pushed']));

  const paths = [
    ...functions
      .flatMap((one) => one.paths)
      .filter((path) => !path.includes('**'))
      .flatMap((path) => IDS.map((id) => path.replace(/\{\w+\}/g, () => id))),
    ...OTHER_PATHS,
  ];

  let map: UrlMap;
  beforeAll(async () => {
    map = await urlMapOf(functions);
  });

  /**
   * The function in the table of routes, or the catch-all for functions that Pub/Sub calls, which the load
   * balancer does not reach.
   */
  const expected = (path: string, action?: string): string => {
    const { name } = routeFor(path, action === undefined ? [] : [['action', action]]);
    return isPushed.get(name) === true ? map.catchAll : name;
  };

  it.each([...actions, 'made_at_run_time', ''])(
    'sends ?action=%s where the table of routes does, on every path',
    (action) => {
      const picked = paths.map((path) => [path, pick(map, `${path}?action=${action}`)]);
      expect(picked).toEqual(paths.map((path) => [path, expected(path, action)]));
    },
  );

  it('sends a request without action where the table of routes does', () => {
    const picked = paths.map((path) => [path, pick(map, path)]);
    expect(picked).toEqual(paths.map((path) => [path, expected(path)]));
  });

  it('sends ?send where the table of routes does', () => {
    const picked = paths.map((path) => [path, pick(map, `${path}?send`), pick(map, `${path}?from=a&send=1`)]);
    const wanted = (path: string): string => {
      const { name } = routeFor(path, [['send', '']]);
      return isPushed.get(name) === true ? map.catchAll : name;
    };
    expect(picked).toEqual(paths.map((path) => [path, wanted(path), wanted(path)]));
    expect(pick(map, '/cmbs/message/?send')).toBe('message-send');
  });

  it('looks at an action among other parameters', () => {
    expect(pick(map, '/cmbs/message/?q=a%3Db&action=purge&page=1')).toBe('message-purge');
    expect(pick(map, '/cmbs/message/?q=a%3Db&page=1')).toBe('message');
  });

  it('sends an id with an asterisk to the catch-all, since no path template matches it', () => {
    expect(pick(map, '/cmbs/member/a*b')).toBe(map.catchAll);
    expect(pick(map, '/cmbs/member/a%2Ab')).toBe('member');
  });

  it('has a rule for every function that clients call', () => {
    const ruled = new Set(map.rules.map((rule) => rule.function));
    const called = functions.filter(({ access }) => access !== 'pushed').map(({ name }) => name);
    expect([...ruled].sort()).toEqual([...called].sort());
  });

  it('leads to the function for pushes only if pushes go through the load balancer', async () => {
    const clients = functions.filter(({ access }) => access !== 'pushed');
    const closed = await urlMapOf([PUSHED, ...clients]);
    expect(pick(closed, '/push/dead-letter')).toBe(closed.catchAll);
    const open = await urlMapOf([PUSHED, ...clients], true);
    expect(pick(open, '/push/dead-letter')).toBe('topic-push');
    expect(pick(open, '/push/a/b')).toBe(open.catchAll);
  });

  it('has distinct priorities, and no more wildcards than the load balancer allows', () => {
    expect(new Set(map.rules.map(({ priority }) => priority)).size).toBe(map.rules.length);
    for (const { path, template } of notEmpty(map.rules.flatMap(({ matches }) => matches))) {
      expect(path.split('*').length - 1).toBeLessThanOrEqual(5);
      expect(path.includes('*')).toBe(template);
    }
  });

  it('is generated from all rules and all functions', async () => {
    const wiring = Object.fromEntries(await bodiesOf('module', 'main.tf'));
    expect(wiring.layout).toMatchObject({ routes: '${jsondecode(file("${path.module}/routes.json"))}' });
    expect(wiring.functions).toMatchObject({ functions: '${module.layout.functions}' });
    expect(wiring.edge).toMatchObject({
      url_rules: '${module.layout.url_rules}',
      catch_all: '${module.layout.catch_all}',
    });
    const made = await resourceOf(
      'google_cloudfunctions2_function',
      'function',
      'modules',
      'functions',
      'main.tf',
    );
    expect(made).toMatchObject({ for_each: '${var.functions}' });
    const [matcher] = (await resourceOf('google_compute_url_map', 'https', 'modules', 'edge', 'main.tf'))
      .path_matcher as [Body];
    expect(matcher).toMatchObject({
      default_service: '${google_compute_backend_service.function[var.catch_all].id}',
      dynamic: { route_rules: [{ for_each: '${var.url_rules}' }] },
    });
  });

  itWithTerraform('equals the result of Terraform for the module layout', () => {
    const outputs = layoutOf({});
    expect(outputs.url_rules).toEqual(map.rules);
    expect(outputs.catch_all).toBe(map.catchAll);
  });
});

describe('the settings of programs', () => {
  it('have names that the programs know', () => {
    const told = filesEndingIn('.tf', '.tftpl')
      .filter((path) => path === 'main.tf' || path.startsWith('modules/'))
      .flatMap((path) => read(path).match(/\bCMBS_[A-Z_]+\b/g) ?? []);
    expect(told).toContain('CMBS_FIRESTORE_DATABASE');
    expect(Object.keys(CLOUD_SETTINGS)).toEqual(expect.arrayContaining(told));
  });

  for (const topic_delivery of ['pull', 'push']) {
    itWithTerraform(`have values that the programs accept if delivery is ${topic_delivery}`, () => {
      const settings = {
        extensions: ['infrastructure'],
        discovery: 'closed',
        queue_limit: 500,
        log: 'debug',
        address_ranges: ['10.0.0.0/8', 'fd00::/8'],
      };
      const { environment } = layoutOf({ topic_delivery, settings, ...CLOSED }) as {
        readonly environment: Names;
      };
      const config = readCloudConfig({
        ...environment,
        CMBS_SHARDS: 'main=203.0.113.10',
        ...(topic_delivery === 'push' ? { CMBS_PUSH_SERVICE_ACCOUNT: 'push@example.com' } : {}),
      });
      expect(config).toMatchObject({ CMBS_TOPIC_DELIVERY: topic_delivery, CMBS_QUEUE_LIMIT: 500 });
      expect(config).toMatchObject({
        CMBS_PORT_RANGE: [[5010, 5040]],
        CMBS_ADDRESS_RANGES: ['10.0.0.0/8', 'fd00::/8'],
        CMBS_IDENTITIES: CLOSED.identities,
        CMBS_ADMINISTRATORS: CLOSED.administrators,
      });
      expect(parseOidcConfig(config.CMBS_OIDC_ISSUERS ?? '')).toMatchObject(CLOSED.oidc_issuers);
    });
  }

  itWithTerraform('have values that the programs accept if the deployment is open to everyone', () => {
    const { environment } = layoutOf({}) as { readonly environment: Names };
    const config = readCloudConfig({ ...environment, CMBS_SHARDS: 'main=203.0.113.10' });
    expect(config).toMatchObject({ CMBS_OPEN_TO_EVERYONE: true, CMBS_IDENTITIES: [] });
  });

  itWithTerraform('have the names that the bus uses in Pub/Sub', () => {
    const outputs = layoutOf({ topics: [{ name: 'weather.alps-north_2' }] });
    const names = new PubsubNames('cmbs');
    expect(outputs.topics).toEqual(['l32', 'l4'].map((layer) => names.topic(layer, 'weather.alps-north_2')));
    expect(outputs.dead_letters).toEqual({
      topic: names.deadLetters,
      keep: names.keptDeadLetters,
      watch: names.watchedDeadLetters,
    });
  });
});

type Names = Readonly<Record<string, string>>;

/** The outputs of Terraform for the module `layout`. */
function layoutOf(variables: Readonly<Record<string, Value>>): Readonly<Record<string, Value>> {
  const directory = mkdtempSync(join(tmpdir(), 'cmbs-layout-'));
  try {
    cpSync(join(TERRAFORM, 'modules', 'layout'), directory, { recursive: true });
    const all = {
      ...routingVariables(deployedFunctions(), false),
      ...LAYOUT_VARIABLES,
      firestore: JSON.parse(read('firestore.json')) as Value,
      ...variables,
    };
    writeFileSync(join(directory, 'test.auto.tfvars.json'), JSON.stringify(all));
    terraform(directory, ['init', '-input=false']);
    terraform(directory, ['apply', '-input=false', '-auto-approve']);
    const outputs = JSON.parse(terraform(directory, ['output', '-json'])) as Record<
      string,
      { readonly value: Value }
    >;
    return Object.fromEntries(Object.entries(outputs).map(([name, { value }]) => [name, value]));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Other variables of the module, on which routes do not depend. */
const LAYOUT_VARIABLES: Readonly<Record<string, Value>> = {
  project_id: 'example-project',
  project_number: '123456789012',
  region: 'europe-west1',
  name_prefix: 'cmbs',
  domain: 'cmbs.example.com',
  function_settings: {
    memory: '512Mi',
    cpu: 1,
    concurrency: 40,
    min_instances: 0,
    max_instances: 10,
    timeout: 75,
  },
  instances: {},
  min_instances_budget: 0,
  shards: { main: {} },
  network_range: '10.80.0.0/20',
  member_ports: { first: 5010, last: 5040 },
  topic_prefix: 'cmbs',
  topic_delivery: 'pull',
  topics: [],
  database: 'cmbs',
  settings: {},
  identities: [],
  administrators: [],
  oidc_issuers: [],
  open_to_everyone: true,
  secrets: [],
};

/** Variables of a deployment whose callers prove who they are. */
const CLOSED = {
  identities: ['basic', 'token', 'oidc'],
  administrators: ['accounts.google.com/alice@example.com', 'root', 'issuer.example/CN=Bob <b>, O="Example"'],
  oidc_issuers: [
    {
      issuer: 'https://accounts.google.com',
      audience: ['example'],
      claim: 'email',
      require: { hd: 'example.com', email_verified: true },
    },
    { issuer: 'https://issuer.example', audience: ['cmbs'], prefix: 'staff/' },
  ],
  open_to_everyone: false,
};
