/**
 * Topic names and patterns (layers.md, Members: "dot-separated words, `*` = one word, `>` = the rest").
 *
 * A word is any Unicode text without control characters, the dot and the two wildcards. In a pattern `*` stands for
 * exactly one word and `>`, only as the last word, for one or more.
 */
import { CmbsError } from '../errors';

/** Characters of a topic or a pattern: what Pub/Sub gives a topic's name. */
const MAX_TOPIC_LENGTH = 255;

declare const topicBrand: unique symbol;
declare const patternBrand: unique symbol;

/** A valid topic name. */
export type Topic = string & { readonly [topicBrand]: true };
/** A valid topic pattern; every topic is one too. */
export type TopicPattern = string & { readonly [patternBrand]: true };

/** Control characters (general category Cc) and halves of surrogate pairs, which no encoding carries. */
const FORBIDDEN = /[\p{Control}\p{Surrogate}]/u;

/** The topic that `name` is, or `bad_attribute`. */
export function parseTopic(name: string): Topic {
  checkWords(name, 'topic', (word) => !word.includes('*') && !word.includes('>'));
  return name as Topic;
}

/** The pattern that `text` is, or `bad_attribute`. */
export function parsePattern(text: string): TopicPattern {
  checkWords(text, 'topic pattern', (word, last) => {
    if (word === '*') return true;
    if (word === '>') return last;
    return !word.includes('*') && !word.includes('>');
  });
  return text as TopicPattern;
}

function checkWords(text: string, what: string, allowed: (word: string, last: boolean) => boolean): void {
  const words = text.split('.');
  const valid =
    text.length <= MAX_TOPIC_LENGTH &&
    !FORBIDDEN.test(text) &&
    words.every((word, i) => word !== '' && allowed(word, i === words.length - 1));
  if (valid) return;
  const wildcards =
    what === 'topic' ? 'no `*` or `>`' : '`*` and `>` only as whole words, `>` only as the last one';
  throw new CmbsError(
    'bad_attribute',
    `${JSON.stringify(text.slice(0, MAX_TOPIC_LENGTH))} is not a ${what}: use at most ${MAX_TOPIC_LENGTH} ` +
      `characters, words separated by single dots, no control characters, ${wildcards}.`,
  );
}

/** Whether the pattern stands for one topic only, its own name. */
export function isTopic(pattern: TopicPattern): pattern is TopicPattern & Topic {
  return !/(?:^|\.)[*>](?:\.|$)/.test(pattern);
}

/** Whether the topic is one of those that the pattern stands for. Linear in the length of both. */
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
