import { documentBytes, preparePut, timestampAt, timeText } from '../../shared/store/firestore/documents';
import { refusal } from './refusal';

test("The size of a document equals that of the example in Firestore's documentation.", () => {
  const fields = {
    type: { stringValue: 'Personal' },
    done: { booleanValue: false },
    priority: { integerValue: '1' },
    description: { stringValue: 'Learn Cloud Firestore' },
  };
  expect(documentBytes('users/jeff/tasks/my_task_id', fields)).toBe(147);
});

test('The largest document has one mebibyte, its name and index entries included.', () => {
  const index = { colour: ['red', 'green'] };
  const empty = preparePut('things/a', { text: '' }, { index }).bytes;
  const room = 1024 * 1024 - empty;
  expect(preparePut('things/a', { text: 'x'.repeat(room) }, { index }).bytes).toBe(1024 * 1024);
  expect(() => preparePut('things/a', { text: 'x'.repeat(room + 1) }, { index })).toThrow(
    refusal('too_large', `would have ${1024 * 1024 + 1} bytes; Firestore takes ${1024 * 1024} in all`),
  );
});

test('The size counts bytes and not characters, and a lone surrogate by its escape.', () => {
  const bytes = (text: string): number => preparePut('things/a', { text }).bytes;
  expect(bytes('ä') - bytes('')).toBe(2);
  expect(bytes('\ud800') - bytes('')).toBe('\\ud800'.length);
});

test('A document with more index entries than Firestore allows is refused.', () => {
  const values = Array.from({ length: 20_001 }, (_, n) => n.toString(36));
  expect(() => preparePut('things/a', {}, { index: { f: values } })).toThrow(refusal('too_large', '20001'));
});

test('Only index entries that are read by order contain the order.', () => {
  const index = { address: ['a', 'a', 'b'], due: ['1'] };
  const { fields } = preparePut('sends/x', {}, { index, order: '7' });
  expect(fields.sorted).toEqual({
    mapValue: { fields: { 'address=a': { stringValue: '7' }, 'address=b': { stringValue: '7' } } },
  });
  expect(preparePut('sends/x', {}, { index }).fields).not.toHaveProperty('sorted');
  expect(preparePut('things/x', {}, { index, order: '7' }).fields).not.toHaveProperty('sorted');
});

test('A time keeps its milliseconds and sorts as text.', () => {
  expect(timestampAt(1_700_000_000_123)).toEqual({ seconds: '1700000000', nanos: 123_000_000 });
  expect(timestampAt(-1)).toEqual({ seconds: '-1', nanos: 999_000_000 });
  expect(
    timeText({ seconds: '1700000000', nanos: 5000 }) < timeText({ seconds: '1700000000', nanos: 40_000 }),
  ).toBe(true);
});
