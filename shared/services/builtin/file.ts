/** The module `file`: files of the program's machine below one directory (docs/services.md, "Files"). */
import { z } from 'zod';
import { CmbsError } from '../../errors';
import type { ServiceMethod, ServiceModule } from '../module';
import type { Value } from '../value';
import { argumentsOf, bytesArgument } from './arguments';
import type { FileCaller, GovernedFiles } from './files/governed-files';
import { FILE_LIMITS, MAX_FILE_CALL_BYTES } from './files/limits';
import { fileName, shownName } from './files/names';
import type { FileInfo } from './files/virtual-files';

/** The refusal of a program that has no files. */
export const noFiles = (): CmbsError =>
  new CmbsError(
    'not_implemented',
    'There are no files here: functions have no disk; ask the companion by a message that calls file.read, or a stack with CMBS_FILES_DIR.',
  );

/** Carries out an operation on files for a caller. @throws Fault, CmbsError */
type FileOperation = (caller: FileCaller, args: readonly Value[]) => Promise<Value>;

const name = z.string();
const whole = z.int();
const ALL = -1;

const readArguments = z.tuple([name, whole.min(0).default(0), whole.min(ALL).default(ALL)]);
const listArguments = z.tuple([
  name.default(''),
  z.string().default(''),
  whole.min(1).max(FILE_LIMITS.listedEntries).default(FILE_LIMITS.listedEntries),
]);
const findArguments = z.tuple([name, z.string()]);
const nameArgument = z.tuple([name]);
const putArguments = z.tuple([
  name,
  bytesArgument.refine((bytes) => bytes.length <= MAX_FILE_CALL_BYTES, {
    error: `has ${MAX_FILE_CALL_BYTES} bytes at most; put the rest by its offset`,
  }),
  whole.min(0).default(0),
]);

const oneName = (method: string, args: readonly Value[]): ReturnType<typeof fileName> =>
  fileName(argumentsOf(nameArgument, args, `file.${method} takes a name.`)[0]);

const shownInfo = ({ name: path, type, size, modified }: FileInfo): Value => ({
  name: path.at(-1) ?? '',
  type,
  size,
  modified: new Date(modified),
});

function operationsOf(files: GovernedFiles): Readonly<Record<keyof typeof DESCRIPTIONS, FileOperation>> {
  return {
    read: (caller, args) => {
      const [path, offset, length] = argumentsOf(
        readArguments,
        args,
        'file.read takes a name, and an offset and a length in bytes.',
      );
      return files.read(caller, fileName(path), offset, length);
    },
    ls: async (caller, args) => {
      const [path, after, limit] = argumentsOf(
        listArguments,
        args,
        'file.ls takes the name of a directory, the name after which to go on, and a number of entries.',
      );
      const { entries, next } = await files.list(caller, fileName(path), { after, limit });
      return { entries: entries.map(shownInfo), ...(next === undefined ? {} : { next }) };
    },
    stat: async (caller, args) => shownInfo(await files.stat(caller, oneName('stat', args))),
    find: async (caller, args) => {
      const [path, pattern] = argumentsOf(
        findArguments,
        args,
        'file.find takes the name of a directory and a pattern.',
      );
      const { names, isComplete } = await files.find(caller, fileName(path), pattern);
      return { names: names.map(shownName), is_complete: isComplete };
    },
    md5: (caller, args) => files.digest(caller, oneName('md5', args), 'md5'),
    sha256: (caller, args) => files.digest(caller, oneName('sha256', args), 'sha256'),
    put: async (caller, args) => {
      const [path, bytes, offset] = argumentsOf(
        putArguments,
        args,
        'file.put takes a name, bytes, and the offset at which to append them.',
      );
      const file = fileName(path);
      return shownInfo(
        offset === 0
          ? (await files.put(caller, file, bytes)).info
          : await files.append(caller, file, offset, bytes),
      );
    },
    mkdir: (caller, args) => files.makeDirectory(caller, oneName('mkdir', args)),
    rm: async (caller, args) => {
      await files.remove(caller, oneName('rm', args));
      return true;
    },
  };
}

type Description = Omit<ServiceMethod, 'call'>;

const INFO = 'a struct with name, type (file or directory), size in bytes, and modified';

const DESCRIPTIONS = {
  read: {
    documentation:
      'Returns bytes of a file, from an offset (0 when absent), as many as the length says (-1 or absent: to the end). ' +
      `One call returns ${MAX_FILE_CALL_BYTES} bytes at most; more is a fault.`,
    signatures: [
      ['base64', 'string'],
      ['base64', 'string', 'int', 'int'],
      ['base64', 'string', 'i8', 'i8'],
      ['base64', 'string', 'int'],
      ['base64', 'string', 'i8'],
    ],
    flags: { idempotent: true },
  },
  ls: {
    documentation:
      `Returns the entries of a directory that the caller may read, sorted: a struct with entries, each ${INFO}, and ` +
      'with next when there may be more. Give next as the second argument to go on. The empty name is the root. The ' +
      `third argument is the number of entries, ${FILE_LIMITS.listedEntries} at most.`,
    signatures: [
      ['struct'],
      ['struct', 'string'],
      ['struct', 'string', 'string'],
      ['struct', 'string', 'string', 'int'],
    ],
    flags: { idempotent: true },
  },
  stat: {
    documentation: `Returns ${INFO}, of a file or a directory.`,
    signatures: [['struct', 'string']],
    flags: { idempotent: true },
  },
  find: {
    documentation:
      'Returns the names below a directory that match a pattern and that the caller may read: a struct with names and ' +
      'is_complete, which is false when the search ended at a limit. * stands for any characters and ? for one, within ' +
      'a part of the name; ** stands for any directories. A pattern without a slash is about the last part of the name.',
    signatures: [['struct', 'string', 'string']],
    flags: { idempotent: true },
  },
  md5: {
    documentation: 'Returns the MD5 digest of a file, in hexadecimal. MD5 does not protect from forgery.',
    signatures: [['string', 'string']],
    flags: { idempotent: true },
  },
  sha256: {
    documentation: 'Returns the SHA-256 digest of a file, in hexadecimal.',
    signatures: [['string', 'string']],
    flags: { idempotent: true },
  },
  put: {
    documentation:
      'Writes a file as a whole, in a directory that exists: readers see the old content or the new one, also after a ' +
      'crash. With an offset above 0, which must be the size of the file, the bytes are appended; a crash can leave a ' +
      `part of them. Returns ${INFO}. A call has ${MAX_FILE_CALL_BYTES} bytes at most.`,
    signatures: [
      ['struct', 'string', 'base64'],
      ['struct', 'string', 'base64', 'int'],
      ['struct', 'string', 'base64', 'i8'],
    ],
    flags: { idempotent: true },
  },
  mkdir: {
    documentation: 'Makes a directory, in a directory that exists. Returns whether the directory is new.',
    signatures: [['boolean', 'string']],
    flags: { idempotent: true },
  },
  rm: {
    documentation: 'Removes a file or an empty directory. Returns true.',
    signatures: [['boolean', 'string']],
  },
} as const satisfies Readonly<Record<string, Description>>;

/** The operations by name, for modules in worker threads; each refuses in a program without files. */
export function fileOperations(files: GovernedFiles | undefined): Readonly<Record<string, FileOperation>> {
  if (files !== undefined) return operationsOf(files);
  const refuse: FileOperation = () => Promise.reject(noFiles());
  return Object.fromEntries(Object.keys(DESCRIPTIONS).map((operation) => [operation, refuse]));
}

/** The module `file`. @param files undefined in a program without files, whose methods refuse */
export function fileModule(files: GovernedFiles | undefined): ServiceModule {
  const operations = fileOperations(files);
  return {
    name: 'file',
    methods: Object.fromEntries(
      Object.entries(DESCRIPTIONS).map(([method, description]): [string, ServiceMethod] => {
        const operation = operations[method] as FileOperation;
        // async, so that an error in the arguments is a rejection too
        return [method, { ...description, call: async (caller, args) => operation(caller, args) }];
      }),
    ),
  };
}
