/** The topic bus: its interface, topics, patterns and pushes. Engines have doors of their own. */
export type { Bus, BusDelivery, BusMessage, TopicLayer } from './bus';
export { DEAD_LETTER, DEAD_LETTERS, PUSH, pushTargetOf } from './push';
export { parsePattern, parseTopic, patternKey, topicKeys, topicMatches, type TopicPattern } from './topics';
