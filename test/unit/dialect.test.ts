import { dialectOf, type Kind } from '@cmbs/shared/occi';
import { kind, spec } from './occi-rendering-samples';

const stored = (lenient: readonly boolean[], more: Partial<Kind> = {}): Kind => ({
  ...kind,
  origin: 'runtime',
  attributes: Object.fromEntries(lenient.map((one, at) => [`a.b${at}`, spec({ lenient: one })])),
  ...more,
});

describe('the dialect of a category', () => {
  it('is the dialect of its definition', () => {
    expect(dialectOf(stored([true], { dialect: 'gfd226' }))).toBe('gfd226');
    expect(dialectOf(stored([false], { dialect: 'nested' }))).toBe('nested');
  });

  it('follows from the attributes of a category that release 1.0 stored, and is nested without attributes', () => {
    expect(dialectOf(stored([true, true]))).toBe('nested');
    expect(dialectOf(stored([false]))).toBe('gfd226');
    expect(dialectOf(stored([]))).toBe('nested');
  });

  it('of a built-in category is GFD.226 unless the definition says otherwise', () => {
    expect(dialectOf(stored([true], { origin: 'extension' }))).toBe('gfd226');
  });
});
