/**
 * Topics and topic patterns (docs/layers.md).
 *
 * A topic is a sequence of words, separated by dots. A word is any Unicode text without control characters, dots and the
 * two wildcards. In a pattern `*` matches exactly one word, and `>`, only as the last word, one or more words.
 *
 * @example topicMatches(parsePattern('weather.*'), parseTopic('weather.tokyo')) // true
 * @example topicMatches(parsePattern('weather.>'), parseTopic('weather')) // false
 */
import { CmbsError } from '../errors';

/** Characters of a topic or a pattern: the limit of Pub/Sub for a topic's name. */
const MAX_TOPIC_LENGTH = 255;

declare const topicBrand: unique symbol;
declare const patternBrand: unique symbol;

/** A valid topic name. */
export type Topic = string & { readonly [topicBrand]: true };
/** A valid topic pattern. Every topic is a pattern. */
export type TopicPattern = string & { readonly [patternBrand]: true };

/** Control characters (general category Cc), and surrogates without their pair, which UTF-8 cannot encode. */
const FORBIDDEN = /[\p{Control}\p{Surrogate}]/u;

/** @throws CmbsError `bad_attribute` when the name is not a valid topic */
export function parseTopic(name: string): Topic {
  checkWords(name, 'topic', (word) => !word.includes('*') && !word.includes('>'));
  return name as Topic;
}

/** @throws CmbsError `bad_attribute` when the text is not a valid pattern */
export function parsePattern(text: string): TopicPattern {
  checkWords(text, 'topic pattern', (word, isLast) => {
    if (word === '*') return true;
    if (word === '>') return isLast;
    return !word.includes('*') && !word.includes('>');
  });
  return text as TopicPattern;
}

function checkWords(
  text: string,
  kind: 'topic' | 'topic pattern',
  isAllowed: (word: string, isLast: boolean) => boolean,
): void {
  const words = text.split('.');
  const isValid =
    text.length <= MAX_TOPIC_LENGTH &&
    !FORBIDDEN.test(text) &&
    words.every((word, i) => word !== '' && isAllowed(word, i === words.length - 1));
  if (isValid) return;
  const wildcards =
    kind === 'topic' ? 'no `*` or `>`' : '`*` and `>` only as whole words, `>` only as the last one';
  throw new CmbsError(
    'bad_attribute',
    `${JSON.stringify(text.slice(0, MAX_TOPIC_LENGTH))} is not a ${kind}: use at most ${MAX_TOPIC_LENGTH} ` +
      `characters, words separated by single dots, no control characters, ${wildcards}.`,
  );
}

/** Whether the pattern has no wildcards, so that it matches exactly one topic. */
export function isTopic(pattern: TopicPattern): pattern is TopicPattern & Topic {
  return !/(?:^|\.)[*>](?:\.|$)/.test(pattern);
}

/** Whether the pattern matches the topic. Linear in the length of both. */
export function topicMatches(pattern: TopicPattern, topic: Topic): boolean {
  let p = 0;
  let t = 0;
  for (;;) {
    const patternEnd = wordEnd(pattern, p);
    const topicEnd = wordEnd(topic, t);
    const wildcard = patternEnd - p === 1 ? pattern.charAt(p) : '';
    if (wildcard === '>') return true;
    if (wildcard !== '*') {
      if (patternEnd - p !== topicEnd - t || !pattern.startsWith(topic.slice(t, topicEnd), p)) return false;
    }
    const patternDone = patternEnd === pattern.length;
    const topicDone = topicEnd === topic.length;
    if (patternDone || topicDone) return patternDone && topicDone;
    p = patternEnd + 1;
    t = topicEnd + 1;
  }
}

function wordEnd(text: string, from: number): number {
  const dot = text.indexOf('.', from);
  return dot < 0 ? text.length : dot;
}

/** Words of a pattern that its key may have. More would need more keys for each topic. */
const MAX_KEY_WORDS = 4;

/**
 * The key of a pattern: a pattern matches a topic only if its key is among the {@link topicKeys} of the topic. So the
 * patterns that match are found by a few equal keys, among no others than those with the same first words.
 *
 * @example patternKey(parsePattern('weather.*')) // '>weather'
 */
export function patternKey(pattern: TopicPattern): string {
  if (isTopic(pattern)) return `=${pattern}`;
  const words = pattern.split('.');
  const literal = words.findIndex((word) => word === '*' || word === '>');
  return prefixKey(words, literal);
}

/** The keys of all patterns that can match a topic. @example topicKeys(parseTopic('a.b')) // ['=a.b', '>', '>a'] */
export function topicKeys(topic: Topic): readonly string[] {
  const words = topic.split('.');
  // A wildcard stands for at least one word.
  const prefixes = Math.min(words.length - 1, MAX_KEY_WORDS) + 1;
  return [`=${topic}`, ...Array.from({ length: prefixes }, (_, count) => prefixKey(words, count))];
}

const prefixKey = (words: readonly string[], count: number): string =>
  `>${words.slice(0, Math.min(count, MAX_KEY_WORDS)).join('.')}`;
