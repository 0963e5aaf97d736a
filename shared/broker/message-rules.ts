/**
 * The rules for messages (docs/wire.md, "Limits"). The frame parser applies them to arriving frames, and creation applies
 * them to the frame of the new message, so that messages that every receiver would refuse are refused on creation.
 */
import { z } from 'zod';
import { CmbsError } from '../errors';
import { MAX_FRAME_BYTES, MAX_HOPS, MAX_ORDERING_KEY_BYTES } from '../limits';
import { MAX_NAMED_RECEIVERS } from './limits';
import { MESSAGE_KIND } from './cmbs';

/**
 * Bytes of a frame that are reserved for what members add on the way: a hop and a URI for each of the eight members that
 * a message may pass, the send id, the origin and the trace.
 */
export const FRAME_RESERVE_BYTES = 16 * 1024;

/** Most characters of a text attribute. */
const MAX_TEXT = 4096;
/** Most items of a list attribute. */
const MAX_LIST = 10_000;

const text = z.string('takes text').max(MAX_TEXT, `takes ${MAX_TEXT} characters at most`);
const flag = z.union([z.string(), z.boolean()], 'takes "true" or "false"').optional();
const list = z
  .union([z.array(z.string()).max(MAX_LIST), z.string()], `takes a list of ${MAX_LIST} strings at most`)
  .optional();

/** The deployment that a member description comes from. */
export const originSchema = z.looseObject({
  deployment: z.string().max(255),
  revision: z.number(),
  uri: z.string().max(MAX_TEXT).optional(),
});

const transferSchema = z.looseObject({
  v: z.number(),
  send_id: z.string().min(1).max(255).optional(),
  origin: originSchema.optional(),
  hops: z
    .array(z.string().max(600))
    .max(MAX_HOPS * 2)
    .optional(),
  to: z.array(z.string().max(255)).max(MAX_NAMED_RECEIVERS).optional(),
  addresses: z.array(z.string().max(MAX_TEXT)).max(MAX_NAMED_RECEIVERS).optional(),
  content_type: z.string().max(255).optional(),
  traceparent: z.string().max(255).optional(),
  token: z.string().max(1000).optional(),
  sealed_at: z.number().optional(),
  proof: z.string().max(255).optional(),
});

const messageSchema = z.looseObject({
  kind: z.literal(MESSAGE_KIND),
  id: z.string().min(1).max(255),
  mixins: z
    .array(z.string().max(1000, 'takes 1000 characters for each at most'))
    .max(100, 'takes 100 at most')
    .optional(),
  title: text.optional(),
  summary: text.optional(),
  attributes: z.looseObject({
    cmbs: z.looseObject({
      message: z.looseObject({
        cmbs_layer: z.string('takes the name of a layer').optional(),
        executable: flag,
        sendable: flag,
        storable: flag,
        path_history: list,
        topics: list,
        providers: list,
        expires_at: z.string('takes an RFC 3339 time').optional(),
        ordering_key: z
          .string('takes text')
          .refine((key) => Buffer.byteLength(key) <= MAX_ORDERING_KEY_BYTES, {
            error: `takes ${MAX_ORDERING_KEY_BYTES} bytes at most`,
          })
          .optional(),
        transfer: transferSchema.optional(),
      }),
    }),
  }),
});

export type MessageJson = z.infer<typeof messageSchema>;

/** The attribute at a path in the JSON of a message entity. */
function attributeAt(path: readonly PropertyKey[]): string {
  const [first, second, third, name] = path.map(String);
  if (first === 'title' || first === 'summary') return `occi.core.${first}`;
  if (first === 'attributes' && second === 'cmbs' && third === 'message' && name !== undefined) {
    return `cmbs.message.${name}`;
  }
  return path.length === 0 ? 'The whole' : path.map(String).join('.');
}

/** @throws CmbsError `bad_request` that names the attribute and what the attribute takes */
export function checkForm(json: unknown): MessageJson {
  const parsed = messageSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path ?? [];
  const rule = issue?.message.startsWith('takes ') === true ? issue.message : undefined;
  throw new CmbsError(
    'bad_request',
    `This is not a message entity: ${attributeAt(path)} ${rule ?? 'is missing or of the wrong form'}.`,
  );
}

/** @throws CmbsError `too_large` for a frame that every receiver would refuse */
export function checkSize(frame: Buffer | string): void {
  const bytes = Buffer.byteLength(frame);
  if (bytes <= MAX_FRAME_BYTES) return;
  throw new CmbsError('too_large', `A frame has ${MAX_FRAME_BYTES} bytes at most, not ${bytes}; send less.`);
}

/** @throws CmbsError `too_large` for a frame that leaves no room for what members add on the way */
export function checkRoom(frame: string): void {
  const bytes = Buffer.byteLength(frame);
  const most = MAX_FRAME_BYTES - FRAME_RESERVE_BYTES;
  if (bytes <= most) return;
  throw new CmbsError(
    'too_large',
    `A message with all of its attributes has ${most} bytes at most as it goes out, not ${bytes}; make its content shorter.`,
  );
}
