/** The records of services, in the form of Clarens' discovery service. */
import { z } from 'zod';
import type { Principal } from '../../../principal';

/** Milliseconds between two publications of a record, and the intervals after which a record that is not renewed is gone. */
export const PUBLISH_INTERVAL_MS = 5 * 60_000;
const INTERVALS_KEPT = 3;
/** Milliseconds that a record lives, unless its publisher says otherwise. */
export const RECORD_LIFE_MS = INTERVALS_KEPT * PUBLISH_INTERVAL_MS;
/** Milliseconds that a record lives at most: a service that died must not be found for long. */
export const MAX_RECORD_LIFE_MS = 24 * 60 * 60_000;
/** Bytes of one record as JSON: a page of them is an answer of moderate size. */
export const MAX_RECORD_BYTES = 8 * 1024;
/** Endpoints and items of a record: each item is an index entry. */
const MAX_ENDPOINTS = 16;
const MAX_ITEMS = 32;

/** XML cannot carry control characters; no name needs other characters that show nothing. */
const PRINTABLE = /^[^\p{Cc}\p{Cs}\u2028\u2029]*$/u;
const text = (most: number): z.ZodString =>
  z
    .string()
    .max(most, { error: `has ${most} characters at most` })
    .regex(PRINTABLE, { error: 'has no control characters' });

export const serviceName = text(200).min(1, { error: 'is not empty' });
const shortText = text(200).default('');

export const itemSchema = z.strictObject({ key: text(100).min(1), value: text(500) });

/** What a publisher says about a service. */
export const descriptorSchema = z.strictObject({
  name: serviceName,
  vo: shortText,
  site: text(500).default(''),
  admin: shortText,
  wsdl: text(1000).default(''),
  /** A claim, which is not believed: the record has the publisher's own name. */
  provider_dn: text(1000).optional(),
  version: shortText,
  /** Seconds since the epoch; absent or 0: {@link RECORD_LIFE_MS} from now. */
  expire: z.int().min(0).optional(),
  endpoint: z
    .array(
      z.strictObject({
        // A script or data in a URI could run in a page that shows it.
        uri: text(1000).regex(/^[a-z][a-z0-9+.-]*:\/\/\S+$/i, { error: 'is a URI, such as https://host/RPC2' }),
        encoding: text(50).min(1),
      }),
    )
    .max(MAX_ENDPOINTS)
    .default([]),
  item: z.array(itemSchema).max(MAX_ITEMS).default([]),
});
export type Descriptor = z.output<typeof descriptorSchema>;

/** A record as the store has it; its expiry is that of the document. */
export const storedSchema = descriptorSchema
  .omit({ expire: true, provider_dn: true })
  .extend({ provider_dn: z.string() });
export type StoredRecord = z.output<typeof storedSchema>;

/** A record as it is found. */
export interface ServiceRecord extends StoredRecord {
  /** Seconds since the epoch. */
  readonly expire: number;
}

/** The name of a publisher in its records. An access token publishes for its user. */
export const providerOf = ({ kind, name }: Principal): string => `${kind}:${name}`;

/** What a search names; each part must match. */
export const querySchema = z.strictObject({
  name: serviceName.optional(),
  vo: text(200).optional(),
  site: text(500).optional(),
  provider_dn: text(1000).optional(),
  item: itemSchema.optional(),
  cursor: z.string().max(4096).optional(),
  limit: z.int().min(1).max(500).default(100),
});
export type ServiceQuery = z.output<typeof querySchema>;

/** Which records their publisher, or an administrator, changes. */
export const selectionSchema = z.strictObject({
  name: serviceName,
  vo: text(200).optional(),
  site: text(500).optional(),
  provider_dn: text(1000).optional(),
});
export type Selection = z.output<typeof selectionSchema>;
