/** Limits of delivery. A program passes its own as `CompanionOptions.delivery`; tests pass smaller ones. */
export interface DeliveryLimits {
  /** Connections to peers at the same time: three or four descriptors each. */
  readonly connections: number;
  /** Of those, attempts to connect whose outcome is not known. */
  readonly probes: number;
  /** Of those, connections to absent peers that keep trying by themselves every 2 s. */
  readonly lingering: number;
  /** Absent peers that are tried in one tick although no new message waits for them. */
  readonly probesPerTick: number;
  /** Milliseconds of a tick. With the default, 1,500 absent peers have their turn within a minute and a half. */
  readonly probeTickMs: number;
  /** Milliseconds until an unused connection is closed. */
  readonly idleMs: number;
  /** Broadcasts that wait for one peer whose subscription is not up; one more is dropped (docs/layers.md, L2). */
  readonly waitingBroadcasts: number;
}

export const DELIVERY_LIMITS: DeliveryLimits = {
  connections: 1024,
  probes: 128,
  lingering: 32,
  probesPerTick: 16,
  probeTickMs: 1000,
  idleMs: 60_000,
  waitingBroadcasts: 1000,
};
