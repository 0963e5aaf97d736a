/** Every metric at `/metrics`, with its labels and its help text. docs/reference/metrics.md is generated from these. */

interface CounterDefinition {
  /** Each label has few distinct values, never an id. */
  readonly labels: readonly string[];
  readonly help: string;
}

/** Counters only increase, and start at 0 with the process. */
export const COUNTERS = {
  cmbs_requests: {
    labels: ['function', 'status'],
    help: 'HTTP requests answered, by function and status',
  },
  cmbs_logins: {
    labels: ['identity', 'outcome'],
    help: 'Requests with credentials, by identity (other: none takes these): accepted, refused, limited (429) or failed (not checked)',
  },
  cmbs_deliveries: {
    labels: ['layer', 'outcome'],
    help: 'Deliveries with an outcome: delivered, sent (L2), published (topic bus) or failed',
  },
  cmbs_received: {
    labels: ['layer', 'outcome'],
    help: 'Messages received: accepted, duplicate, forwarded, or the error code of the refusal',
  },
  cmbs_retries: {
    labels: ['layer'],
    help: 'Attempts to deliver or to publish that failed and are repeated later',
  },
  cmbs_dropped: {
    labels: ['layer', 'reason'],
    help: 'Messages dropped after they were accepted, by reason',
  },
  cmbs_dead_letters: {
    labels: ['layer'],
    help: 'Topic messages given up after the last attempt',
  },
  cmbs_bus_dead_letters: {
    labels: [],
    help: 'Deliveries of topics that became dead letters, over all subscriptions',
  },
  cmbs_calls: {
    labels: ['outcome'],
    help: 'Service calls executed: answer or fault',
  },
  cmbs_schedule_runs: {
    labels: ['outcome'],
    help: 'Runs of schedules that ended: answer, fault or unknown (interrupted)',
  },
  cmbs_layers_opened: {
    labels: ['layer'],
    help: 'Layers of members that were opened',
  },
  cmbs_layers_failed: {
    labels: ['layer'],
    help: 'Attempts to open a layer of a member that failed',
  },
  cmbs_members_refused: {
    labels: [],
    help: 'Descriptions of members that discovery did not store: too large, or no room',
  },
  cmbs_members_removed: {
    labels: [],
    help: 'Discovered members removed to make room for new ones',
  },
  cmbs_member_claims: {
    labels: ['outcome'],
    help: 'Claims about a known member that had to be checked: answered, unanswered, conflict or dropped',
  },
  cmbs_socket_drops: {
    labels: ['socket', 'reason'],
    help: 'Messages dropped and connections cut at a socket, by reason',
  },
  cmbs_socket_paused: {
    labels: ['socket'],
    help: 'Times that a socket stopped receiving because its handlers were busy',
  },
  cmbs_handler_failures: {
    labels: ['socket'],
    help: 'Messages whose handler failed',
  },
  cmbs_broadcasts_refused: {
    labels: [],
    help: 'Broadcasts that a full connection did not take at once',
  },
  cmbs_requests_failed: {
    labels: ['reason'],
    help: 'Requests to a peer without a reply: no_listener, timeout, lost, closed or aborted',
  },
  cmbs_subscriptions_remade: {
    labels: [],
    help: 'Pub/Sub subscriptions that had been deleted and were created again',
  },
  cmbs_restarts_total: {
    labels: ['reason'],
    help: 'Restarts of the process by its supervisor, by reason',
  },
} as const satisfies Record<string, CounterDefinition>;

interface HistogramDefinition extends CounterDefinition {
  /** Upper bounds, ascending. */
  readonly bounds: readonly number[];
}

/** Bounds for the time of a call, in seconds: from a method that only computes to the deadline of calls. */
export const CALL_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25] as const;

/** Histograms start empty with the process. */
export const HISTOGRAMS = {
  cmbs_method_seconds: {
    labels: ['method', 'outcome'],
    help: 'Seconds that calls of a method took, by method and outcome: answer or fault',
    bounds: CALL_SECONDS,
  },
} as const satisfies Record<string, HistogramDefinition>;

export type HistogramName = keyof typeof HISTOGRAMS;
export type HistogramLabels<N extends HistogramName> = Readonly<
  Record<(typeof HISTOGRAMS)[N]['labels'][number], string>
>;

export type CounterName = keyof typeof COUNTERS;
export type CounterLabels<N extends CounterName> = Readonly<
  Record<(typeof COUNTERS)[N]['labels'][number], string>
>;

interface GaugeDefinition {
  /** Absent: a single value. */
  readonly label?: string;
  readonly help: string;
}

/** Gauges are read when a client asks for `/metrics`. */
export const GAUGES = {
  cmbs_requests_in_flight: { help: 'HTTP requests not answered yet' },
  cmbs_messages_queued: { help: 'Outbound messages of the shard without an outcome' },
  cmbs_messages_in_flight: { help: 'Outbound messages in memory; the others are in the store only' },
  cmbs_destinations: { help: 'Addresses with a destination queue' },
  cmbs_oldest_queued_seconds: { help: 'Age in seconds of the oldest outbound message without an outcome' },
  cmbs_layers_failing: { help: 'Layers that are started and cannot be opened' },
  cmbs_sockets_open: { label: 'layer', help: 'Open sockets of members' },
  cmbs_shard_held: { help: '1 while this companion holds the lease of its shard, else 0' },
  cmbs_control_calls: { help: 'Calls from functions that this companion is working on' },
} as const satisfies Record<string, GaugeDefinition>;

export type GaugeName = keyof typeof GAUGES;
