/** The broker: members, messages, layers, delivery and the inbox. */
export {
  type Address,
  AddressSchemes,
  type AddressScheme,
  bindAddress,
  IPC,
  parseAddress,
  TCP,
} from './addresses';
export { CMBS_EXTENSION, cmbsCategories } from './categories';
export {
  layerMixin,
  MEMBER,
  MEMBER_KIND,
  MEMBERS,
  MESSAGE,
  MESSAGE_KIND,
  MESSAGES,
  NEIGHBOR_KIND,
  NEIGHBORS,
} from './cmbs';
export { companionDirectory } from './companion-directory';
export { isAllowed, membersThatMaySubscribe, resourceOf, topicResource } from './authorization';
export { registryOf } from './context';
export { areSomeWithoutGroup, groupOf, groupTerm, REMOTE_GROUPS, type ShardOf } from './member-groups';
export { MemberLookup } from './member-lookup';
export { MEMBER_MOVES, type MemberMove, memberOfMove, moveOf } from './member-moves';
export {
  areSomeDesiredWithoutShard,
  DESIRED,
  type Desired,
  membersWithDesiredState,
  readDesiredAgain,
  startedLayers,
} from './desired';
export { areSomeWithout } from './index-count';
export { Execution, type ExecutionContext } from './execution';
export { describesMember, type InboundContext, InboundHandler } from './inbound-handler';
export {
  type Acknowledged,
  DEFAULT_INBOX_PAGE,
  DEFAULT_LEASE_S,
  entryJson,
  Inbox,
  type InboxPage,
  MAX_INBOX_PAGE,
  MAX_LEASE_S,
  type Owner,
} from './inbox';
export { InboxWaiting } from './inbox-waiting';
export { acquireLease, type Lease, LEASE_LIMITS, type LeaseLimits, readLease } from './lease';
export { type Delivery, deliveryKey, isGivenUp, isOpen, reasonOf, stateOf } from './delivery';
export { describe, descriptionChars, parseDescription } from './description';
export {
  type Addressing,
  type Channel,
  DISCOVERY_LAYER,
  type Layer,
  type LayerDefinition,
  Layers,
} from './layer-definition';
export { BUILT_IN_LAYERS, layersOf } from './layers';
export { RPC_TIMEOUT_MS } from './limits';
export { MemberRegistration, type RegistrationContext, type RegistrationResult } from './member-registration';
export {
  type IndexTerm,
  isLocal,
  isOpenOn,
  isSuspended,
  localMembers,
  localMembersAt,
  LOCAL,
  membersInPages,
  socketOf,
  socketsOf,
  stringList,
  topicPatterns,
  wants,
} from './member';
export { checkSize } from './message-rules';
export { MessageSender, RPC_MARGIN_MS, sendIntent } from './message-sender';
export { BrokerMessaging, type MessagingOptions } from './messaging';
export { isEmptyContent } from './message';
export { OrderClock } from './order-clock';
export { applyOutcomes, type Outcome, withPublished } from './outcome';
export {
  ADDRESS_FIELD,
  deleteOrphan,
  DUE_FIELD,
  dueIn,
  isFirstInGroup,
  isPublishing,
  nextSequence,
  orderingGroupOf,
  orderOf,
  OUTBOUND_MESSAGES,
  type OutboundMessage,
  outboundMessageOf,
  putOutbound,
  readOutbound,
  type StoredOutboundMessage,
  writeOutbound,
} from './outbound-message';
export type { PortSettings } from './ports';
export { type Evidence, isUnverified, provenanceOf } from './provenance';
export type { BrokerOptions } from './options';
export { cmbsExtension } from './providers';
export { outgoingFrame, publishOutbound, type TopicListener } from './publish';
export { addressesOf, apartAddress, assertQueueRoom, busAddress, meantBy, socketAt } from './queue-room';
export { MAX_NAMED_RECEIVERS } from './limits';
export { oldReceiptId, receiptId } from './receipt';
export type { KnownMembers } from './registration-room';
export { sentMessage } from './sent-message';
export { ONLY_SHARD, Shards } from './shards';
export { PART_FIELD, partOf, partsOf, SHARD_FIELD } from './outbound-record';
export { parseSubscriptionName, subscriptionName } from './subscriptions';
export { recordTopicIndex, renewIndex } from './topic-index';
export {
  contentOf,
  contentText,
  DISCOVERY_CONTENT,
  errorReply,
  MAX_REPLY_BYTES,
  messageFrame,
  originOf,
  parseFrame,
  parseReply,
  type Reply,
  type Transfer,
  type WireMessage,
} from './wire';
export { FrameProofs } from './frame-proof';
