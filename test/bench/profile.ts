/** Where a program spends its time: the self time of a CPU profile by part of the program. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
  readonly columnNumber: number;
}

/** A file that `node --cpu-prof` writes. */
interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: CallFrame;
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[];
}

export interface PartOfTime {
  readonly part: string;
  /** Of the time in which the main thread was busy. */
  readonly share: number;
}

/** Self time by part, the largest first, from the longest profile in a directory: that of the main thread. */
export async function selfTime(directory: string): Promise<readonly PartOfTime[]> {
  const files = await Promise.all(
    (await readdir(directory)).map(async (name) => ({ name, bytes: (await stat(join(directory, name))).size })),
  );
  const [largest] = files.sort((a, b) => b.bytes - a.bytes);
  if (largest === undefined) throw new Error(`no profile in ${directory}`);
  const profile = JSON.parse(await readFile(join(directory, largest.name), 'utf8')) as Profile;
  const partOf = await parts(profile);
  const micros = new Map<string, number>();
  let busy = 0;
  profile.samples.forEach((id, at) => {
    const part = partOf.get(id) ?? IDLE;
    const delta = profile.timeDeltas[at] ?? 0;
    if (part === IDLE) return;
    busy += delta;
    micros.set(part, (micros.get(part) ?? 0) + delta);
  });
  return [...micros].map(([part, time]) => ({ part, share: time / busy })).sort((a, b) => b.share - a.share);
}

const IDLE = 'idle';

/** The part of each node. Native code, such as SQLite's, counts to its caller. */
async function parts({ nodes }: Profile): Promise<ReadonlyMap<number, string>> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)));
  const maps = new Map<string, SourceMap>();
  for (const url of new Set(nodes.map(({ callFrame }) => callFrame.url))) {
    if (!url.startsWith('file://')) continue;
    // Only bundles have a map.
    const text = await readFile(`${fileURLToPath(url)}.map`, 'utf8').catch(() => undefined);
    if (text !== undefined) maps.set(url, new SourceMap(JSON.parse(text) as SourceMapPayload));
  }
  const found = new Map<number, string>();
  const find = (id: number): string => {
    const known = found.get(id);
    if (known !== undefined) return known;
    const frame = byId.get(id)?.callFrame;
    const parent = parents.get(id);
    const own = frame === undefined ? undefined : partOfFrame(frame, maps);
    const part = own ?? (parent === undefined ? 'Node.js' : find(parent));
    found.set(id, part);
    return part;
  };
  for (const { id } of nodes) find(id);
  return found;
}

/** Undefined for native code. */
function partOfFrame({ functionName, url, lineNumber, columnNumber }: CallFrame, maps: Map<string, SourceMap>) {
  if (functionName === '(idle)') return IDLE;
  if (functionName === '(garbage collector)') return 'garbage collection';
  if (url === '') return functionName === '(program)' || functionName === '(root)' ? 'Node.js' : undefined;
  if (url.startsWith('node:')) return 'Node.js';
  const entry = maps.get(url)?.findEntry(lineNumber, columnNumber);
  const source = entry !== undefined && 'originalSource' in entry ? entry.originalSource : url;
  const dependency = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1];
  if (dependency !== undefined) return dependency;
  // SQLite's own time is in the calls of its statements.
  if (source.endsWith('store/sqlite/connection.ts')) return 'SQLite';
  const [, top = '', room = ''] = /(?:^|\/)(shared|functions|companion|emulator)\/([^/]+)/.exec(source) ?? [];
  if (top === '') return 'Node.js';
  return room.endsWith('.ts') || top !== 'shared' ? top : `${top}/${room}`;
}
