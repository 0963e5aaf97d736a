/** Counters, histograms and gauges in Prometheus' text format (docs/reference/metrics.md). */
import type { Counters, Histograms } from '@cmbs/shared';
import {
  COUNTERS,
  GAUGES,
  HISTOGRAMS,
  type CounterName,
  type GaugeName,
  type HistogramName,
} from '@cmbs/shared/metrics';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Companion } from './companion';

/** Gauges with a label have one value per value of the label. */
type LabelledGauge = { [N in GaugeName]: (typeof GAUGES)[N] extends { label: string } ? N : never }[GaugeName];
type SingleGauge = Exclude<GaugeName, LabelledGauge>;

export interface Metrics extends Counters, Histograms {
  /** Adds a gauge, which is read when metrics are asked for. */
  gauge(name: SingleGauge, read: () => number | Promise<number>): void;
  /** Adds a gauge with one value per value of its label. */
  gauges(name: LabelledGauge, read: () => Readonly<Record<string, number>>): void;
  /** Text exposition format 0.0.4. */
  text(): Promise<string>;
  readonly contentType: string;
}

export function prometheusMetrics(): Metrics {
  const registry = new Registry();
  const counters = new Map<CounterName, Counter>();
  const histograms = new Map<HistogramName, Histogram>();
  return {
    contentType: registry.contentType,
    add(name, labels: Readonly<Record<string, string>> = {}, n = 1) {
      let counter = counters.get(name);
      if (counter === undefined) {
        const { labels: labelNames, help } = COUNTERS[name];
        counter = new Counter({ name, help, labelNames, registers: [registry] });
        counters.set(name, counter);
      }
      counter.inc(labels, n);
    },
    observe(name, labels: Readonly<Record<string, string>>, value) {
      let histogram = histograms.get(name);
      if (histogram === undefined) {
        const { labels: labelNames, help, bounds } = HISTOGRAMS[name];
        histogram = new Histogram({ name, help, labelNames, buckets: [...bounds], registers: [registry] });
        histograms.set(name, histogram);
      }
      histogram.observe(labels, value);
    },
    gauge(name, read) {
      const gauge: Gauge = new Gauge({
        name,
        help: GAUGES[name].help,
        registers: [registry],
        collect: async () => gauge.set(await read()),
      });
    },
    gauges(name, read) {
      const { help, label } = GAUGES[name];
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

/** Adds the gauges of a companion. @param companion gives the present companion; undefined while there is none */
export function companionGauges(metrics: Metrics, companion: () => Companion | undefined): void {
  metrics.gauge('cmbs_messages_queued', async () => (await companion()?.outbox())?.queued ?? 0);
  metrics.gauge('cmbs_messages_in_flight', () => companion()?.status.inFlight ?? 0);
  metrics.gauge('cmbs_destinations', () => companion()?.status.destinations ?? 0);
  metrics.gauge('cmbs_oldest_queued_seconds', async () => ((await companion()?.outbox())?.oldestMs ?? 0) / 1000);
  metrics.gauge('cmbs_layers_failing', () => companion()?.status.failing ?? 0);
  metrics.gauges('cmbs_sockets_open', () => companion()?.status.open ?? {});
}
