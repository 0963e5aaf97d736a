/** Names of members' subscriptions on the topic bus. */
import { createHash } from 'node:crypto';
import type { Path } from '../occi';
import { MEMBERS } from './cmbs';
import type { Layer, Layers } from './layer-definition';

/** Characters of a member's id in the name of its subscription; the topic has to fit behind it. */
const MAX_MEMBER_IN_NAME = 120;

/** `member.<id>.<layer>`: the id is escaped or, if long, digested, since names have fewer characters than ids. */
export function subscriptionName(member: Path, layer: Layer): string {
  const escaped = member
    .slice(MEMBERS.length)
    .replace(/[^A-Za-z0-9-]/g, (character) => `_${character.charCodeAt(0).toString(16)}_`);
  const digest = (): string => `_${createHash('sha256').update(member).digest('hex')}`;
  return `member.${escaped.length <= MAX_MEMBER_IN_NAME ? escaped : digest()}.${layer}`;
}

/** The member and layer of a name; the member is undefined when its id was digested. */
export function parseSubscriptionName(
  name: string,
  { onBus }: Layers,
): { readonly member: Path | undefined; readonly layer: Layer } | undefined {
  const [, escaped, layer] = /^member\.([A-Za-z0-9_-]+)\.([a-z][a-z0-9]*)$/.exec(name) ?? [];
  if (escaped === undefined || layer === undefined || !onBus.includes(layer)) return undefined;
  const isDigest = /^_[0-9a-f]{64}$/.test(escaped);
  const id = escaped.replace(/_([0-9a-f]{1,4})_/g, (_, code: string) => String.fromCharCode(parseInt(code, 16)));
  return { member: isDigest ? undefined : MEMBERS + id, layer };
}
