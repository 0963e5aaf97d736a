/** A message that is given up is kept for 30 days, and longer when it is sent again. */
import { Deployment, skewedClock } from './harness';

const DAY_MS = 24 * 3600 * 1000;

it('a dead letter is readable for 30 days and gone after them', async () => {
  const clock = skewedClock();
  const here = await Deployment.start({ clock });
  try {
    await here.member();
    const dead = await here.send('l31', { providers: ['nobody of that name'] });
    expect(dead.delivery.state).toBe('failed');
    const kept = await here.message('l31', { providers: ['nobody of that name'] });
    clock.forward(29 * DAY_MS);
    expect((await here.get(dead.path)).delivery.state).toBe('failed');
    expect((await here.get('/cmbs/message/dead_letter/')).text).toContain(
      dead.path.slice('/cmbs/message/'.length),
    );
    clock.forward(2 * DAY_MS);
    expect((await here.get(dead.path)).status).toBe(404);
    expect((await here.get(kept)).status).toBe(200);
  } finally {
    await here.close();
  }
});
