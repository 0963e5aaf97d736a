/** What a module says about itself, checked. */
import { z } from 'zod';
import type { MethodManifest, RawManifest } from './protocol';
import { fromPort } from './values';

/** `string,int` or `['string', 'int']`: the type of the result, then those of the arguments. */
const signature = z
  .union(
    [
      z.string().transform((text) => text.split(',').map((type) => type.trim())),
      z.array(z.string()).transform((types) => types.map((type) => type.trim())),
    ],
    { error: "a signature is text such as 'string,int' or an array such as ['string', 'int']" },
  )
  .refine((types) => types.length > 0 && types.every((type) => /^[\w.:-]{1,60}$/.test(type)), {
    error: 'a signature has the type of the result and then the types of the arguments',
  });

const flags = z.strictObject({
  idempotent: z.boolean().exactOptional(),
  timeoutMs: z.number().int().min(1).max(3_600_000).exactOptional(),
  secret: z.boolean().exactOptional(),
  callers: z.enum(['everybody', 'known', 'administrators']).exactOptional(),
  anyArguments: z.boolean().exactOptional(),
});

const method = z.object({
  documentation: z
    .string({ error: 'documentation is text; remote callers need it' })
    .refine((text) => text.trim() !== '', { error: 'documentation is empty; remote callers need it' }),
  signatures: z
    .array(signature, { error: 'signatures is an array' })
    .min(1, { error: 'signatures needs at least one signature' }),
  schemas: z.array(z.array(z.record(z.string(), z.json()).nullable())).exactOptional(),
  flags: flags.nullish().transform((given) => given ?? {}),
});

const schema = z.object({
  methods: z.record(z.string(), method, { error: 'there is no export methods, an object of methods by name' }),
  // Callers read the version, also in the formats that have no control characters.
  version: z
    .string()
    .min(1)
    .max(100)
    .regex(/^[^\p{Cc}\p{Cs}\u2028\u2029]*$/u, { error: 'a version is text on one line' })
    .nullable(),
  priority: z.number().nullable(),
  depends: z.array(z.string()).nullable(),
});

export interface Manifest {
  readonly methods: Readonly<Record<string, MethodManifest>>;
  /** Absent: the version is a checksum of the files. */
  readonly version: string | undefined;
  /** Modules with lower numbers start first. */
  readonly priority: number;
  /** Modules that must have started before. */
  readonly depends: readonly string[];
  readonly hasStartup: boolean;
  readonly hasShutdown: boolean;
}

/** Priority of a module that names none. */
const DEFAULT_PRIORITY = 100;

/** The names of the exports, where they differ from those of the manifest. */
const EXPORTS: Readonly<Record<string, string>> = { priority: 'init_priority' };

/** @throws Error that says what is wrong */
export function manifestOf(raw: RawManifest): Manifest {
  const { hasStartup, hasShutdown } = raw;
  const parsed = schema.safeParse({
    methods: raw.methods === undefined ? undefined : fromPort(raw.methods),
    version: fromPort(raw.version),
    priority: fromPort(raw.priority),
    depends: fromPort(raw.depends),
  });
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const [first = '', ...rest] = (issue?.path ?? []).map(String);
    const where = [EXPORTS[first] ?? first, ...rest].join('.');
    throw new Error(`${where}: ${issue?.message ?? 'it is not valid'}.`);
  }
  const { methods, version, priority, depends } = parsed.data;
  return {
    methods,
    version: version ?? undefined,
    priority: priority ?? DEFAULT_PRIORITY,
    depends: depends ?? [],
    hasStartup,
    hasShutdown,
  };
}
