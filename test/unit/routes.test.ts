import { CMBS_EXTENSION } from '@cmbs/shared/broker';
import { MEMBER_ACTION_SCHEME, MESSAGE_ACTION_SCHEME } from '../../shared/broker/cmbs';
import { routeFor, routeNamed, ROUTES } from '@cmbs/functions/routes';
import { notEmpty } from '../not-empty';

describe('the table of routes', () => {
  it('gives no path and action to two functions', () => {
    const claims = ROUTES.flatMap(({ paths, flag = 'no action', action = [flag] }) =>
      paths.flatMap((path) => action.map((term) => `${path} ${term}`)),
    );
    expect(claims.filter((claim, at) => claims.indexOf(claim) !== at)).toEqual([]);
  });

  it('names each function once, as the framework allows', () => {
    const names = ROUTES.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of notEmpty(names)) {
      expect(name).toMatch(/^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/);
      expect(routeNamed(name)?.name).toBe(name);
    }
    expect(routeNamed('constructor')).toBeUndefined();
  });

  it.each([
    ['member', MEMBER_ACTION_SCHEME],
    ['message', MESSAGE_ACTION_SCHEME],
  ])('gives each built-in action of a %s a function of its own', (kind, scheme) => {
    const terms = CMBS_EXTENSION.categories
      .filter((category) => category.class === 'action' && category.scheme === scheme)
      .map(({ term }) => term);
    expect(terms.length).toBeGreaterThan(5);
    const functions = terms.map((term) => routeFor(`/cmbs/${kind}/one`, [['action', term]]).name);
    expect(functions).toEqual(terms.map((term) => `${kind}-${term.replaceAll('_', '-')}`));
    expect(new Set(functions).size).toBe(terms.length);
    const others = ROUTES.filter(({ name, action }) => name.startsWith(`${kind}-`) && action !== undefined);
    expect(others.map(({ name }) => name).sort()).toEqual([...functions].sort());
  });

  it.each([
    ['/-/', undefined, 'query'],
    ['/.well-known/org/ogf/occi/-/', undefined, 'query'],
    ['/cmbs/member/', undefined, 'member'],
    ['/cmbs/member/one', undefined, 'member'],
    ['/cmbs/member/one', 'start_l1', 'member-start-l1'],
    ['/cmbs/member/', 'stop_l3.1', 'member-stop-l31'],
    ['/cmbs/member/one', 'stop_l4', 'member-stop-l4'],
    ['/cmbs/member/one/inbox/', undefined, 'member-inbox'],
    ['/cmbs/member/one/inbox/entry', undefined, 'member-inbox'],
    ['/cmbs/message/l1/', undefined, 'message'],
    ['/cmbs/message/dead_letter/', 'purge', 'message-purge'],
    ['/cmbs/message/one', 'send_l3.2', 'message-send-l32'],
    ['/readyz', undefined, 'health'],
    ['/cmbs/member/one', 'made_at_run_time', 'occi'],
    ['/cmbs/neighbor/', undefined, 'occi'],
    ['/', undefined, 'occi'],
    ['/cmbs/member/one/two', undefined, 'occi'],
  ])('sends %s with action %s to %s', (path, action, name) => {
    expect(routeFor(path, action === undefined ? [] : [['action', action]]).name).toBe(name);
  });
});
