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
  ORIGINAL_PORTS,
} from './cmbs';
export { companionDirectory } from './companion-directory';
export { registryOf } from './context';
export { DESIRED, type Desired, startedLayers } from './desired';
export { Execution, type ExecutionContext } from './execution';
export { type InboundContext, InboundHandler } from './inbound-handler';
export { type Acknowledged, entryJson, Inbox, type InboxPage, oldReceiptId, type Owner, receiptId } from './inbox';
export { acquireLease, type Lease, readLease } from './lease';
export { RPC_TIMEOUT_MS } from './limits';
export {
  type KnownMembers,
  MemberRegistration,
  type RegistrationContext,
  type RegistrationResult,
  type Stranger,
} from './member-registration';
export {
  allMembers,
  describe,
  descriptionChars,
  isLocal,
  isOpenOn,
  isSuspended,
  localMembers,
  parseDescription,
  socketOf,
  stringList,
  topicPatterns,
  wants,
} from './member';
export { checkSize } from './message-rules';
export { MessageSender, RPC_MARGIN_MS, sendIntent } from './message-sender';
export { isEmptyContent } from './message';
export { OrderClock } from './order-clock';
export {
  ADDRESS_FIELD,
  addressesOf,
  apartAddress,
  applyOutcomes,
  assertQueueRoom,
  busAddress,
  deleteOrphan,
  type Delivery,
  deliveryKey,
  DUE_FIELD,
  dueMinute,
  isFirstInGroup,
  isGivenUp,
  isOpen,
  isPublishing,
  meantBy,
  nextSequence,
  orderingGroupOf,
  orderOf,
  OUTBOUND_MESSAGES,
  type OutboundMessage,
  outboundMessageOf,
  type Outcome,
  putOutbound,
  readOutbound,
  socketAt,
  withPublished,
  writeOutbound,
} from './outbound-message';
export type { PortSettings } from './ports';
export { type Evidence, isStranger, provenanceOf } from './provenance';
export { type BrokerOptions, CMBS_EXTENSION, cmbsExtension } from './providers';
export { outgoingFrame, publishOutbound, type TopicListener } from './publish';
export { MemberIndex } from './references';
export { sentMessage } from './sent-message';
export { Shards } from './shards';
export { parseSubscriptionName, subscriptionName } from './subscriptions';
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
