import { documentBytes, preparePut, timestampAt, timeText } from '../../shared/store/firestore/documents';
import { refusal } from './refusal';

test('Sizes are those of the example in the documentation of Firestore.', () => {
  const fields = {
    type: { stringValue: 'Personal' },
    done: { booleanValue: false },
    priority: { integerValue: '1' },
    description: { stringValue: 'Learn Cloud Firestore' },
  };
  expect(documentBytes('users/jeff/tasks/my_task_id', fields)).toBe(147);
});

test('The largest document has a mebibyte in all, name and index entries included.', () => {
  const index = { colour: ['red', 'green'] };
  const empty = preparePut('things/a', { text: '' }, { index }).bytes;
  const room = 1024 * 1024 - empty;
  expect(preparePut('things/a', { text: 'x'.repeat(room) }, { index }).bytes).toBe(1024 * 1024);
  expect(() => preparePut('things/a', { text: 'x'.repeat(room + 1) }, { index })).toThrow(
    refusal('too_large', `would have ${1024 * 1024 + 1} bytes; Firestore takes ${1024 * 1024} in all`),
  );
});

test('Bytes are counted, not characters, and halves of surrogate pairs by their escapes.', () => {
  const bytes = (text: string): number => preparePut('things/a', { text }).bytes;
  expect(bytes('ä') - bytes('')).toBe(2);
  expect(bytes('\ud800') - bytes('')).toBe('\\ud800'.length);
});

test('More index entries than Firestore takes are refused.', () => {
  const values = Array.from({ length: 20_001 }, (_, n) => n.toString(36));
  expect(() => preparePut('things/a', {}, { index: { f: values } })).toThrow(refusal('too_large', '20001'));
});

test('Entries that are read by order have the order beside them; the others have not.', () => {
  const index = { address: ['a', 'a', 'b'], due: ['1'] };
  const { fields } = preparePut('sends/x', {}, { index, order: '7' });
  expect(fields.sorted).toEqual({
    mapValue: { fields: { 'address=a': { stringValue: '7' }, 'address=b': { stringValue: '7' } } },
  });
  expect(preparePut('sends/x', {}, { index }).fields).not.toHaveProperty('sorted');
  expect(preparePut('things/x', {}, { index, order: '7' }).fields).not.toHaveProperty('sorted');
});

test('Times keep their milliseconds and compare as text.', () => {
  expect(timestampAt(1_700_000_000_123)).toEqual({ seconds: '1700000000', nanos: 123_000_000 });
  expect(timestampAt(-1)).toEqual({ seconds: '-1', nanos: 999_000_000 });
  expect(
    timeText({ seconds: '1700000000', nanos: 5000 }) < timeText({ seconds: '1700000000', nanos: 40_000 }),
  ).toBe(true);
});
