import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { referencePages } from '../documents/reference';

const DIRECTORY = join(__dirname, '../../docs/reference');

describe('docs/reference', () => {
  const pages = referencePages();

  it('has the generated pages and no others', () => {
    expect(readdirSync(DIRECTORY).sort()).toEqual(Object.keys(pages).sort());
  });

  it.each(Object.entries(pages))('has an up-to-date %s (if not, run `npm run docs`)', (name, text) => {
    expect(readFileSync(join(DIRECTORY, name), 'utf8')).toBe(text);
  });
});
