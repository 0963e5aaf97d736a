/**
 * The certificate of an endpoint that answers HTTPS, read again at intervals: its files may be rewritten, renamed, or be
 * symbolic links that change, as certbot and Kubernetes do. The contents are compared, because times and names of files
 * do not tell every change.
 */
import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import type { Clock, Log } from '@cmbs/shared';
import {
  type CertificateFiles,
  type CertificatePair,
  type CertificateSettings,
  checkPair,
  ConfigError,
  unreadableFile,
} from '@cmbs/shared/config';

/** Milliseconds between two readings of the files. */
const READ_AGAIN_MS = 2000;

export interface CertificateOptions {
  readonly files: CertificateFiles;
  readonly clock: Clock;
  readonly log: Log;
  /** Milliseconds between two readings of the files. */
  readonly readAgainMs?: number;
}

interface Loaded {
  readonly pair: CertificatePair;
  readonly context: SecureContextOptions;
  /** Milliseconds since the epoch. */
  readonly validTo: number;
}

export class Certificate {
  readonly #options: CertificateOptions;
  #loaded: Loaded;
  /** Why the files cannot be used, where this is logged. */
  #refused: string | undefined;
  #use: ((context: SecureContextOptions) => void) | undefined;
  #cancel = (): void => undefined;
  #reading: Promise<void> = Promise.resolve();
  #isClosed = false;

  private constructor(options: CertificateOptions, loaded: Loaded) {
    this.#options = options;
    this.#loaded = loaded;
    this.#tell();
    this.#plan();
  }

  /** @throws ConfigError when the files cannot be used */
  static async open(options: CertificateOptions): Promise<Certificate> {
    return new Certificate(options, load(await read(options.files)));
  }

  /** Calls `use` with the present certificate, and with each later one. */
  follow(use: (context: SecureContextOptions) => void): void {
    this.#use = use;
    use(this.#loaded.context);
  }

  /** Reads the files no more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancel();
    await this.#reading;
  }

  #plan(): void {
    const { clock, readAgainMs = READ_AGAIN_MS } = this.#options;
    this.#cancel = clock.after(readAgainMs, () => {
      this.#reading = this.#readAgain().finally(() => {
        if (!this.#isClosed) this.#plan();
      });
    });
  }

  async #readAgain(): Promise<void> {
    try {
      const pair = await read(this.#options.files);
      if (this.#isClosed) return;
      if (!isSame(pair, this.#loaded.pair)) {
        const loaded = load(pair);
        this.#use?.(loaded.context);
        this.#loaded = loaded;
        this.#tell();
      }
      this.#refused = undefined;
    } catch (error) {
      const reason = (error as Error).message;
      // Once for each problem, since the files are read again and again.
      if (reason !== this.#refused) {
        this.#options.log.warn('the new certificate cannot be used; the one before stays', { reason });
      }
      this.#refused = reason;
    }
  }

  #tell(): void {
    const { clock, log } = this.#options;
    const { validTo } = this.#loaded;
    const fields = { valid_to: new Date(validTo).toISOString() };
    if (validTo <= clock.now()) log.warn('the certificate has expired', fields);
    else log.info('certificate loaded', fields);
  }
}

/** @throws ConfigError */
async function read({ cert, key }: CertificateFiles): Promise<CertificatePair> {
  const content = (setting: keyof CertificateSettings, file: string): Promise<Buffer> =>
    readFile(file).catch((error: unknown) => {
      throw unreadableFile(setting, error);
    });
  return { cert: await content('CMBS_TLS_CERT', cert), key: await content('CMBS_TLS_KEY', key) };
}

/** @throws ConfigError */
function load(pair: CertificatePair): Loaded {
  const certificate = checkPair(pair);
  const context: SecureContextOptions = { ...pair, minVersion: 'TLSv1.2' };
  try {
    createSecureContext(context);
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException;
    throw new ConfigError(`CMBS_TLS_CERT and CMBS_TLS_KEY cannot be used for TLS (${code}).`, { cause });
  }
  return { pair, context, validTo: Date.parse(certificate.validTo) };
}

const isSame = (one: CertificatePair, other: CertificatePair): boolean =>
  one.cert.equals(other.cert) && one.key.equals(other.key);
