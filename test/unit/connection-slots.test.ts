/** Who gets the few connections: the limits, and who gives way to whom. */
import { ConnectionSlots, type ConnectionUser } from '../../companion/delivery/connection-slots';
import { ManualClock } from '../contract/manual-clock';

const limits = { connections: 2, probes: 2, lingering: 1, probesPerTick: 1, probeTickMs: 100 };

class User implements ConnectionUser {
  use: ConnectionUser['use'] = 'busy';
  isConnected = false;

  connect(): void {
    this.isConnected = true;
  }

  disconnect(): void {
    this.isConnected = false;
  }
}

describe('connection slots', () => {
  let clock: ManualClock;
  let slots: ConnectionSlots;
  let users: readonly User[];
  beforeEach(() => {
    clock = new ManualClock();
    slots = new ConnectionSlots(clock, limits);
    users = Array.from({ length: 4 }, () => new User());
  });
  afterEach(() => slots.close());

  const connected = (): readonly boolean[] => users.map(({ isConnected }) => isConnected);
  const present = (...indexes: readonly number[]): void => {
    for (const index of indexes) {
      slots.ask(users[index]!);
      slots.isUp(users[index]!);
    }
  };

  it('open no more connections than the limit while all are busy, and grant the next when one is given back', () => {
    present(0, 1);
    expect(slots.ask(users[2]!)).toBe(false);
    expect([connected(), slots.size]).toEqual([[true, true, false, false], 2]);
    slots.giveBack(users[0]!);
    expect([users[2]!.isConnected, slots.size]).toEqual([true, 2]);
  });

  it('take the connection of an idle user for a user that waits', () => {
    present(0, 1);
    users[0]!.use = 'idle';
    expect(slots.ask(users[2]!)).toBe(true);
    expect(connected()).toEqual([false, true, true, false]);
  });

  it('try no more peers at the same time than the limit, even if there is room', () => {
    slots = new ConnectionSlots(clock, { ...limits, connections: 10 });
    expect(users.map((user) => slots.ask(user))).toEqual([true, true, false, false]);
    slots.isDown(users[0]!);
    expect(connected()).toEqual([true, true, true, false]);
  });

  it('end an attempt that has had its time for a user that waits, and try the peer again later', () => {
    slots.ask(users[0]!);
    slots.ask(users[1]!);
    expect(slots.ask(users[2]!)).toBe(false);
    clock.runNext();
    expect(connected()).toEqual([false, true, true, false]);
    slots.isUp(users[1]!);
    slots.giveBack(users[2]!);
    clock.runNext();
    expect(users[0]!.isConnected).toBe(true);
  });
});
