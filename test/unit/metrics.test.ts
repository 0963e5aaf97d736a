import { COUNTERS, GAUGES, HISTOGRAMS } from '@cmbs/shared/metrics';
import { prometheusMetrics } from '../../companion/metrics';

describe('the metrics', () => {
  it('have names that begin with cmbs_, and a help text', () => {
    const all = Object.entries<{ readonly help: string }>({ ...COUNTERS, ...HISTOGRAMS, ...GAUGES });
    expect(all.length).toBeGreaterThan(20);
    for (const [name, { help }] of all) {
      expect(name).toMatch(/^cmbs_[a-z_]+[a-z]$/);
      expect(help).not.toBe('');
    }
  });

  it('are shown with their help and labels', async () => {
    const metrics = prometheusMetrics();
    metrics.add('cmbs_deliveries', { layer: 'l1', outcome: 'delivered' });
    metrics.add('cmbs_deliveries', { layer: 'l2', outcome: 'failed' }, 2);
    metrics.add('cmbs_members_refused');
    metrics.observe('cmbs_method_seconds', { method: 'echo.echo', outcome: 'answer' }, 0.02);
    metrics.gauge('cmbs_destinations', () => 3);
    metrics.gauges('cmbs_sockets_open', () => ({ l1: 4 }));
    const lines = (await metrics.text()).split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        `# HELP cmbs_deliveries ${COUNTERS.cmbs_deliveries.help}`,
        'cmbs_deliveries{layer="l1",outcome="delivered"} 1',
        'cmbs_deliveries{layer="l2",outcome="failed"} 2',
        'cmbs_members_refused 1',
        'cmbs_method_seconds_bucket{le="0.01",method="echo.echo",outcome="answer"} 0',
        'cmbs_method_seconds_bucket{le="0.025",method="echo.echo",outcome="answer"} 1',
        'cmbs_method_seconds_count{method="echo.echo",outcome="answer"} 1',
        'cmbs_destinations 3',
        'cmbs_sockets_open{layer="l1"} 4',
      ]),
    );
  });
});
