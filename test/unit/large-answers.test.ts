/** Turns of large answers: few at a time, the others in order, and bounds for those that wait. */
import { LargeAnswers, LARGE_ANSWERS_LIMITS } from '../../functions/large-answers';
import { ManualClock } from '../contract/manual-clock';

const limits = { ...LARGE_ANSWERS_LIMITS, atOnce: 2, waiting: 3, waitMs: 1000 };
const never = new AbortController().signal;

describe('large answers', () => {
  let clock: ManualClock;
  let answers: LargeAnswers;
  /** Names of the answers that have had a turn, in order. */
  let begun: string[];
  beforeEach(() => {
    clock = new ManualClock();
    answers = new LargeAnswers(clock, limits);
    begun = [];
  });

  const turn = async (name: string, signal = never): Promise<() => void> => {
    const leave = await answers.turn(signal);
    begun.push(name);
    return leave;
  };
  const outcome = (waiting: Promise<unknown>): Promise<string> =>
    waiting.then(
      () => 'turn',
      (error: unknown) => (error as { readonly code: string }).code,
    );

  it('are made a few at a time, and the others follow in order', async () => {
    const leave = await turn('first');
    await turn('second');
    const others = [turn('third'), turn('fourth')];
    expect(answers.isContended).toBe(true);
    leave();
    const leaveThird = await others[0]!;
    expect(begun).toEqual(['first', 'second', 'third']);
    leave();
    leaveThird();
    await others[1];
    expect(begun).toEqual(['first', 'second', 'third', 'fourth']);
    expect(answers.isContended).toBe(false);
  });

  it('are refused beyond those that may wait, and accepted again when there is room', async () => {
    const leave = await turn('first');
    await turn('second');
    const others = ['third', 'fourth', 'fifth'].map((name) => turn(name));
    const waits = new Promise<string>((resolve) => setImmediate(resolve, 'waits'));
    expect(await Promise.race([outcome(turn('sixth')), waits])).toBe('queue_full');
    leave();
    await others[0];
    const last = turn('seventh');
    for (const wait of [...others, last]) void wait.then((done) => done());
    await Promise.all([...others, last]);
    expect(begun.at(-1)).toBe('seventh');
  });

  it('are refused after they have waited too long, without taking the turn of another', async () => {
    const leave = await turn('first');
    await turn('second');
    const late = outcome(turn('late'));
    expect(clock.runNext()).toBe(limits.waitMs);
    expect(await late).toBe('queue_full');
    const next = turn('next');
    leave();
    await next;
    expect(begun).toEqual(['first', 'second', 'next']);
  });

  it('give their turn, or their place among those that wait, back when the client leaves', async () => {
    const reader = new AbortController();
    const waiter = new AbortController();
    await turn('first', reader.signal);
    await turn('second');
    const left = outcome(turn('left', waiter.signal));
    const next = turn('next');
    waiter.abort();
    expect(await left).toBe('queue_full');
    reader.abort();
    await next;
    expect(begun).toEqual(['first', 'second', 'next']);
  });
});
