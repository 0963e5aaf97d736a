/** Helpers that the tests of L3.2 and L4 share. */
import { contentOf, eventually, unique, type Deployment, type Entry, type Member } from './harness';

export const contents = (entries: readonly Entry[]): readonly unknown[] => entries.map(contentOf);

/**
 * Sends a message that only `witness` members want, on a topic of its own. When it arrives, every message sent
 * before it has arrived or never will, since the bus and each destination queue keep the order.
 */
export async function settle(
  deployment: Deployment,
  layer: 'l32' | 'l4',
  from: Member,
  witnesses: readonly (readonly [Deployment, Member])[],
): Promise<void> {
  const mark = unique('mark');
  await deployment.must(200, deployment.send(layer, { from: from.id, topics: ['settle.mark'], content: mark }));
  for (const [where, member] of witnesses) {
    await eventually(
      () => where.inbox(member),
      (entries) => entries.some((entry) => contentOf(entry) === mark),
      `${member.path} receives the mark`,
    );
  }
}
