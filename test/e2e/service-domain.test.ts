import { WorkerProgram } from '../integration/modules/support';
import { LAYERS, ServiceStack } from './service-domain-support';

let worker: WorkerProgram;
beforeAll(() => { worker = new WorkerProgram(); });
afterAll(() => worker.remove());

describe.each([['open', false],['closed', true]])('%s', (_n, isClosed) => {
  it('x', async () => {
    const s = new ServiceStack(isClosed);
    await s.start(worker);
    try {
      const alice = await s.user('alice');
      const bob = await s.user('bob');
      console.log(JSON.stringify(await alice.call('system.list_methods', [])));
      for (const m of ['message.send', 'relay.send']) for (const layer of LAYERS) {
        const to = layer === 'l1' ? {receiver: bob.sockets.l1} : layer === 'l31' ? {providers: ['bob']} : layer === 'l2' ? {} : {topics: ['alice.x']};
        console.log(m, layer, JSON.stringify(await alice.call(m, [{layer, from: 'alice', content: {n: 1}, ...to}])));
      }
      console.log(JSON.stringify(await bob.call('message.read', ['bob', {number: 5}])));
      console.log(JSON.stringify(await bob.call('relay.get', [bob.member])));
      console.log(JSON.stringify(await bob.call('acl.check', ['message.receive', 'member:/cmbs/member/alice'])));
      console.log(JSON.stringify(await bob.call('acl.list', [])));
      console.log(JSON.stringify(await bob.call('acl.list', ['member:/cmbs/member/bob'])));
      console.log(JSON.stringify(await bob.call('token.create', [{name: 'x'}])));
      console.log(JSON.stringify(await bob.call('token.list', [])));
      console.log(JSON.stringify(await bob.call('group.create', ['g', {members: ['user:bob']}])));
    } finally { await s.close(); }
  });
});
