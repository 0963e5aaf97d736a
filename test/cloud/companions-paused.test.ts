/** Two companions: which one holds the members' sockets when one is paused. */
import { isGreeting } from './balancer';
import { eventually } from '../e2e/harness';
import { describeTwoCompanions, SOME, SOON_MS, TAKEOVER_MS } from './companion-pair';

describeTwoCompanions('with two companions', (pair) => {
  test('a paused companion notices that it was replaced before it does anything else', async () => {
    const { holder, standby } = await pair.roles();
    const loading = pair.load();
    await loading.accepts(SOME);
    // The kernel still accepts connections for the paused process, which sends no greeting.
    const watch = await pair.watchSocket(holder, isGreeting);
    holder.companion.signal('SIGSTOP');
    const took = await pair.takesOver(standby);
    await watch.handedOver(holder, standby);
    holder.companion.signal('SIGCONT');
    // The process notices the replacement when it resumes.
    await eventually(
      () => pair.isListening(holder),
      (isOpen) => !isOpen,
      'the paused companion closes its sockets',
      SOON_MS,
    );
    const watchOn = await pair.watchSocket(standby);
    await loading.accepts(SOME);
    const contents = await loading.end();
    await watchOn.handedOver(standby, standby);
    expect(took).toBeLessThan(TAKEOVER_MS);
    await pair.arrived(contents);
    await pair.standsBy(holder);
  }, 300_000);
});
