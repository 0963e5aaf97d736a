/**
 * Closed deployments for the end-to-end suites. Each request of a suite acts as a normal user, who owns what the suite
 * creates. At the start, an administrator allows what is not a user's by default, with the rules of {@link RULES}.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonObject } from '@cmbs/shared';
import { PATIENCE_MS } from '../patience';
import type { Engine, Running } from './engine';

interface Login {
  readonly name: string;
  readonly password: string;
}

const ADMINISTRATOR: Login = { name: 'root', password: 'password of the administrator' };
const USER: Login = { name: 'tester', password: 'password of the tester' };

interface Permission {
  readonly target: string;
  readonly operations: readonly string[];
  readonly allow: string;
}

const TESTER = `user:${USER.name}`;
/** Frames of hand-made peers and of other deployments prove no sender, so they come from nobody. */
const PEERS = 'everybody';

const RULES: readonly Permission[] = [
  // Only administrators may do these by default.
  { target: 'topic:>', operations: ['topic.publish', 'topic.subscribe'], allow: TESTER },
  { target: 'entity:/metrics', operations: ['metrics.read'], allow: TESTER },
  { target: 'category:', operations: ['category.*'], allow: TESTER },
  // Members that discovery stores belong to the administrators.
  { target: 'member:/', operations: ['entity.*', 'action.invoke'], allow: TESTER },
  // What arrives from peers, and what is passed on to them.
  { target: 'member:/', operations: ['message.receive', 'message.forward', 'member.register'], allow: PEERS },
  { target: 'topic:>', operations: ['topic.publish', 'topic.subscribe'], allow: PEERS },
  { target: 'method:', operations: ['service.call'], allow: PEERS },
];

const ACCESS = 'http://houssem.org/cmbs/access#';

const basic = ({ name, password }: Login): string =>
  `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;

/**
 * Makes the deployments of any engine closed ones.
 * @param directory for the administrator's password
 */
export function closingWith(directory: string): (engine: Engine) => Engine {
  const file = join(directory, 'password');
  writeFileSync(file, ADMINISTRATOR.password);
  const settings = {
    CMBS_IDENTITIES: 'basic,token',
    CMBS_ADMINISTRATORS: ADMINISTRATOR.name,
    CMBS_ADMIN_PASSWORD_FILE: file,
  };
  return (engine) => {
    // After a restart, the deployment has its user and its rules already.
    let token: string | undefined;
    return async (options) => {
      const { CMBS_OPEN_TO_EVERYONE: _insteadOfIdentities, ...env } = options.env;
      const running = await engine({ ...options, env: { ...env, ...settings } });
      try {
        token ??= await prepare(running);
      } catch (error) {
        await running.close();
        throw error;
      }
      return {
        url: running.url,
        ...(running.metrics === undefined ? {} : { metrics: running.metrics }),
        headers: { Authorization: `Bearer ${token}` },
        close: () => running.close(),
      };
    };
  };
}

/** Creates the user and the rules; returns a token of the user. */
async function prepare({ url }: Running): Promise<string> {
  const create = async (as: Login, path: string, kind: string, attributes: JsonObject): Promise<Headers> => {
    const answer = await fetch(url + path, {
      method: 'PUT',
      headers: { Authorization: basic(as), 'Content-Type': 'application/json', Accept: 'application/json' },
      body: JSON.stringify({ kind: ACCESS + kind, attributes }),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const text = await answer.text();
    if (answer.status !== 201) throw new Error(`${path} was not created: ${answer.status} ${text}`);
    return answer.headers;
  };
  await create(ADMINISTRATOR, `/cmbs/access/user/${USER.name}`, 'user', {
    'cmbs.access.user.password': USER.password,
  });
  for (const [number, { target, operations, allow }] of RULES.entries()) {
    await create(ADMINISTRATOR, `/cmbs/access/rule/suites-${number}`, 'rule', {
      'cmbs.access.rule.target': target,
      'cmbs.access.rule.operations': operations,
      'cmbs.access.rule.allow': [allow],
    });
  }
  const made = await create(USER, '/cmbs/access/token/suites', 'token', {});
  const token = made.get('CMBS-Token');
  if (token === null) throw new Error('The answer shows no token.');
  return token;
}
