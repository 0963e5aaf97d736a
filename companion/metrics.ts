/** Counters in Prometheus' text format: everything received, delivered, retried and dropped. */
import type { Counters } from '@cmbs/shared';
import { Counter, Gauge, Registry } from 'prom-client';

export interface Metrics extends Counters {
  /** Adds a gauge that is read when metrics are asked for. */
  gauge(name: string, help: string, read: () => number): void;
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
        collect: () => gauge.set(read()),
      });
    },
    text: () => registry.metrics(),
  };
}
