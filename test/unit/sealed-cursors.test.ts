/** Cursors of a closed deployment: only the deployment can read them, in all its processes and after restarts. */
import { SealedCursors } from '../../shared/access/sealed-cursors';
import { cursorAfter, deploymentKey } from '@cmbs/shared/store';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';
import { refusal } from './refusal';

const PATH = '/cmbs/message/secret-name';
const CURSOR = cursorAfter(PATH);

let temporary: TemporaryStore;
beforeAll(async () => {
  temporary = await openTemporaryStore();
});
afterAll(() => temporary.close());

/** The cursors of another process, or of the same one after a restart. */
const cursors = (): SealedCursors => new SealedCursors(temporary.store);

describe('a sealed cursor', () => {
  it('is opened by every process of the deployment, also one that starts at the same time', async () => {
    const processes = Array.from({ length: 5 }, cursors);
    const sealed = await Promise.all(processes.map((one) => one.seal(CURSOR)));
    for (const text of sealed) {
      for (const one of [...processes, cursors()]) expect(await one.open(text)).toBe(CURSOR);
    }
    expect(new Set(sealed).size).toBe(sealed.length);
  });

  it.each([
    ['a path', PATH],
    ['a long path', `/${'x'.repeat(1400)}`],
    ['a path beyond ASCII', '/cmbs/message/Zürich 北京 \u{1f600} '],
  ])('says nothing of %s', async (_which, path) => {
    const sealed = await cursors().seal(cursorAfter(path));
    expect(sealed).toMatch(/^[A-Za-z0-9_-]+$/);
    for (const encoding of ['utf8', 'latin1', 'utf16le'] as const) {
      expect(Buffer.from(sealed, 'base64url').toString(encoding)).not.toContain(path);
    }
    expect(await cursors().open(sealed)).toBe(cursorAfter(path));
  });

  it('has the same length for paths of different lengths', async () => {
    const lengths = ['/a', PATH, `${PATH}/${'x'.repeat(100)}`].map(
      async (path) => (await cursors().seal(cursorAfter(path))).length,
    );
    expect(new Set(await Promise.all(lengths)).size).toBe(1);
  });

  it('is refused when it was changed, cut, or never sealed', async () => {
    const sealed = await cursors().seal(CURSOR);
    const bytes = Buffer.from(sealed, 'base64url');
    const changed = [0, 11, 12, 40, bytes.length - 1].map((at) => {
      const copy = Buffer.from(bytes);
      copy[at] = (copy[at] ?? 0) ^ 1;
      return copy.toString('base64url');
    });
    for (const text of [...changed, bytes.subarray(0, 30).toString('base64url'), CURSOR, 'nonsense', '', 'ä']) {
      await expect(cursors().open(text)).rejects.toThrow(refusal('bad_request', 'start again without a cursor.'));
    }
  });

  it('of another deployment is refused', async () => {
    const other = await openTemporaryStore();
    try {
      const sealed = await new SealedCursors(other.store).seal(CURSOR);
      await expect(cursors().open(sealed)).rejects.toThrow(refusal('bad_request'));
    } finally {
      await other.close();
    }
  });

  it('is opened once the store answers again', async () => {
    const sealed = await cursors().seal(CURSOR);
    const { store } = temporary;
    let isBroken = true;
    const flaky = new SealedCursors({
      create: (...what) => store.create(...what),
      get: (...what) => (isBroken ? Promise.reject(new Error('The store is away.')) : store.get(...what)),
    });
    await expect(flaky.open(sealed)).rejects.toThrow('The store is away.');
    isBroken = false;
    expect(await flaky.open(sealed)).toBe(CURSOR);
  });

  it('has a key of its own in the store', async () => {
    const [one, two] = [
      await deploymentKey(temporary.store, 'cursor-key'),
      await deploymentKey(temporary.store, 'other-key'),
    ];
    expect([one.length, two.length, one.equals(two)]).toEqual([32, 32, false]);
  });
});
