import { dialectOf, type Kind } from '@cmbs/shared/occi';
import { kind, spec } from './occi-rendering-samples';

const stored = (lenient: readonly boolean[], more: Partial<Kind> = {}): Kind => ({
  ...kind,
  origin: 'runtime',
  attributes: Object.fromEntries(lenient.map((one, at) => [`a.b${at}`, spec({ lenient: one })])),
  ...more,
});

describe('the dialect of a category', () => {
  it('is the one that it was defined in', () => {
    expect(dialectOf(stored([true], { dialect: 'gfd226' }))).toBe('gfd226');
    expect(dialectOf(stored([false], { dialect: 'nested' }))).toBe('nested');
  });

  it('that version 1.0 stored shows in its attributes, and is nested where there are none', () => {
    expect(dialectOf(stored([true, true]))).toBe('nested');
    expect(dialectOf(stored([false]))).toBe('gfd226');
    expect(dialectOf(stored([]))).toBe('nested');
  });

  it("of the program's own is GFD.226 unless they say otherwise", () => {
    expect(dialectOf(stored([true], { origin: 'extension' }))).toBe('gfd226');
  });
});
