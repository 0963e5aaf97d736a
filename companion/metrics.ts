/** Counters in Prometheus' text format: everything received, delivered, retried and dropped; and how things stand. */
import type { Counters } from '@cmbs/shared';
import { Counter, Gauge, Registry } from 'prom-client';
import type { Companion } from './companion';

export interface Metrics extends Counters {
  /** Adds a gauge that is read when metrics are asked for. */
  gauge(name: string, help: string, read: () => number | Promise<number>): void;
  /** Adds a gauge with one value per value of a label. */
  gauges(name: string, help: string, label: string, read: () => Readonly<Record<string, number>>): void;
  /** Text exposition format 0.0.4. */
  text(): Promise<string>;
  readonly contentType: string;
}

export function prometheusMetrics(): Metrics {
  const registry = new Registry();
  const counters = new Map<string, Counter>();
  return {
    contentType: registry.contentType,
    add(name, labels = {}, n = 1) {
      const labelNames = Object.keys(labels).sort();
      let counter = counters.get(name);
      if (counter === undefined) {
        counter = new Counter({ name, help: name.replaceAll('_', ' '), labelNames, registers: [registry] });
        counters.set(name, counter);
      }
      counter.inc(labels, n);
    },
    gauge(name, help, read) {
      const gauge: Gauge = new Gauge({
        name,
        help,
        registers: [registry],
        collect: async () => gauge.set(await read()),
      });
    },
    gauges(name, help, label, read) {
      const gauge: Gauge = new Gauge({
        name,
        help,
        labelNames: [label],
        registers: [registry],
        collect: () => {
          gauge.reset();
          for (const [value, n] of Object.entries(read())) gauge.set({ [label]: value }, n);
        },
      });
    },
    text: () => registry.metrics(),
  };
}

/** How a companion stands; `companion` gives the present one, undefined while there is none. */
export function companionGauges(metrics: Metrics, companion: () => Companion | undefined): void {
  metrics.gauge(
    'cmbs_sends_queued',
    'Sends without an outcome yet',
    async () => (await companion()?.outbox())?.queued ?? 0,
  );
  metrics.gauge(
    'cmbs_sends_held',
    'Sends in memory: the others lie in the store',
    () => companion()?.status.held ?? 0,
  );
  metrics.gauge(
    'cmbs_destinations',
    'Addresses to which sends go, or for which they wait',
    () => companion()?.status.destinations ?? 0,
  );
  metrics.gauge(
    'cmbs_oldest_send_seconds',
    'Age of the oldest send without an outcome',
    async () => ((await companion()?.outbox())?.oldestMs ?? 0) / 1000,
  );
  metrics.gauge(
    'cmbs_layers_failing',
    'Layers that are started and cannot be opened',
    () => companion()?.status.failing ?? 0,
  );
  metrics.gauges(
    'cmbs_sockets_open',
    "Members' sockets that are open",
    'layer',
    () => companion()?.status.open ?? {},
  );
}
