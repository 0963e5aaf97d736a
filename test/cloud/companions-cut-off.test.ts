/** Two companions: who holds the members' sockets when one cannot reach Firestore. */
import { describeTwoCompanions, SOME } from './companion-pair';
import type { GrpcProxy } from './grpc-proxy';

jest.mock('@cmbs/shared/limits', () => ({
  ...jest.requireActual<object>('@cmbs/shared/limits'),
  ...jest.requireActual<typeof import('./short-leases')>('./short-leases').SHORT_LEASES,
}));

describeTwoCompanions('two companions', (pair) => {
  test.each<[string, (firestore: GrpcProxy) => unknown]>([
    ['refuses it', (firestore) => firestore.refuse()],
    ['says nothing to it', (firestore) => firestore.silence()],
  ])(
    'one whose Firestore %s lets go of the members before the other one takes them, and stands by afterwards',
    async (_, cutOff) => {
      const { holder, standby } = await pair.roles();
      const watch = await pair.watchSocket(holder);
      const loading = pair.load();
      await loading.accepts(SOME);
      await cutOff(holder.firestore);
      await pair.takesOver(standby);
      await loading.accepts(SOME);
      await pair.mend(holder);
      const contents = await loading.end();
      await pair.standsBy(holder);
      await watch.handedOver(holder, standby);
      await pair.arrived(contents);
    },
    300_000,
  );
});
