/**
 * Where the time went before index entries were deferred, queries kept and sends written in fewer commits: measured in one
 * run, in turn with the version after it. Shares compare with later runs; times do not, so only their ratio is kept.
 */
export interface Before {
  /** Self time by part, as {@link PartOfTime.share}. */
  readonly shares: Readonly<Record<string, number>>;
  /** Processor time of an operation, now divided by before: the median of two runs. */
  readonly cpu: number;
}

export const BEFORE_POST: Before = {
  shares: {
    'Node.js': 0.3,
    'shared/occi': 0.23,
    SQLite: 0.11,
    'shared/store': 0.07,
    zod: 0.06,
    'shared/broker': 0.05,
    functions: 0.05,
    'garbage collection': 0.04,
    emulator: 0.03,
    re2js: 0.02,
  },
  cpu: 0.68,
};

export const BEFORE_L1: Before = {
  shares: {
    SQLite: 0.3,
    'shared/store': 0.16,
    'Node.js': 0.14,
    companion: 0.1,
    'shared/broker': 0.1,
    'shared/occi': 0.07,
    'garbage collection': 0.06,
    zod: 0.04,
  },
  cpu: 1.04,
};

export const BEFORE_SEND_L1: Before = {
  shares: {
    'Node.js': 0.32,
    SQLite: 0.15,
    'shared/store': 0.14,
    'shared/occi': 0.08,
    'shared/broker': 0.08,
    companion: 0.08,
    zod: 0.05,
    'garbage collection': 0.05,
    functions: 0.02,
  },
  cpu: 0.79,
};
