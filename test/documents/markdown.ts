/** Reads the repository's documents for the tests. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

export const ROOT = join(__dirname, '../..');

/** A fenced block. */
export interface Block {
  readonly language: string;
  /** The info string after the language. */
  readonly note: string;
  readonly text: string;
  /** Line of its fence, from 1. */
  readonly line: number;
}

export interface Document {
  /** Path in the repository. */
  readonly path: string;
  readonly text: string;
  readonly blocks: readonly Block[];
  /** The text without its blocks. */
  readonly prose: string;
}

/** Folders with Markdown for readers of the repository. */
const FOLDERS = ['docs', 'examples', 'terraform', 'test'];

function markdownIn(folder: string): readonly string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true })
    .filter(({ name }) => name !== 'node_modules' && !name.startsWith('.'))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? markdownIn(path) : path.endsWith('.md') ? [path] : [];
    });
}

export function parseMarkdown(path: string, text: string): Document {
  const blocks: Block[] = [];
  const prose: string[] = [];
  let open: { fence: string; language: string; note: string; line: number; lines: string[] } | undefined;
  for (const [at, line] of text.split('\n').entries()) {
    if (open !== undefined) {
      if (line === open.fence) {
        blocks.push({ language: open.language, note: open.note, line: open.line, text: open.lines.join('\n') });
        open = undefined;
      } else open.lines.push(line);
      continue;
    }
    const [, fence, language = '', note = ''] = /^(`{3,})(\w*) ?(.*)$/.exec(line) ?? [];
    if (fence === undefined) prose.push(line);
    else open = { fence, language, note, line: at + 1, lines: [] };
  }
  if (open !== undefined) throw new Error(`${path}:${open.line}: the block does not end`);
  return { path, text, blocks, prose: prose.join('\n') };
}

export function readDocument(path: string): Document {
  return parseMarkdown(path, readFileSync(join(ROOT, path), 'utf8'));
}

/** Every document, in the order of their paths. */
export function readDocuments(): readonly Document[] {
  const top = readdirSync(ROOT).filter((name) => name.endsWith('.md'));
  return [...top, ...FOLDERS.filter((folder) => existsSync(join(ROOT, folder))).flatMap(markdownIn)]
    .sort()
    .map((path) => readDocument(relative(ROOT, join(ROOT, path))));
}

/** Commands of a shell block: one a line, lines that end with a backslash joined, comments left out. */
export function commandsOf(text: string): readonly string[] {
  return text
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .map((line) => line.replace(/\s+# .*$/, '').trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/** Anchors that GitHub gives to the headings. */
export function anchorsOf({ prose }: Document): ReadonlySet<string> {
  return new Set(
    [...prose.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) =>
      heading
        .replaceAll(/[`*]|\[([^\]]*)\]\([^)]*\)/g, '$1')
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/** The text between `<!-- name -->` and `<!-- /name -->`. */
export function section({ path, text }: Document, name: string): string {
  const found = new RegExp(`<!-- ${name} -->([\\s\\S]*?)<!-- /${name} -->`).exec(text)?.[1];
  if (found === undefined) throw new Error(`${path} has no section ${name}`);
  return found;
}
