/** The certificate of an endpoint and its private key, in PEM files. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ConfigError } from './read';

export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/** The contents of both files. */
export interface CertificatePair {
  /** The certificate, and those of its issuers. */
  readonly cert: Buffer;
  readonly key: Buffer;
}

export interface CertificateSettings {
  readonly CMBS_TLS_CERT?: string | undefined;
  readonly CMBS_TLS_KEY?: string | undefined;
}

/** The files of an endpoint that answers HTTPS; undefined when the settings are not both there. */
export function certificateFilesOf({
  CMBS_TLS_CERT: cert,
  CMBS_TLS_KEY: key,
}: CertificateSettings): CertificateFiles | undefined {
  return cert === undefined || key === undefined ? undefined : { cert, key };
}

/** One line for each problem of the settings and their files. */
export function certificateProblems(settings: CertificateSettings): readonly string[] {
  const files = certificateFilesOf(settings);
  if (files === undefined) {
    const isNone = settings.CMBS_TLS_CERT === undefined && settings.CMBS_TLS_KEY === undefined;
    return isNone ? [] : ['CMBS_TLS_CERT and CMBS_TLS_KEY go together; set both or none.'];
  }
  try {
    checkPair({
      cert: contentOf('CMBS_TLS_CERT', files.cert),
      key: contentOf('CMBS_TLS_KEY', files.key),
    });
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return [error.message];
    throw error;
  }
}

/**
 * Checks that the key is the private key of the first certificate, and returns this certificate.
 * @throws ConfigError with one sentence that names the setting
 */
export function checkPair(pair: CertificatePair): X509Certificate {
  const certificate = certificateIn(pair.cert);
  if (certificate.checkPrivateKey(keyIn(pair.key))) return certificate;
  throw new ConfigError('CMBS_TLS_KEY is not the private key of the certificate in CMBS_TLS_CERT.');
}

/** The error for a file that cannot be read. */
export function unreadableFile(setting: keyof CertificateSettings, cause: unknown): ConfigError {
  const { code } = cause as NodeJS.ErrnoException;
  return new ConfigError(`${setting} names a file that cannot be read (${code ?? String(cause)}).`, { cause });
}

function contentOf(setting: keyof CertificateSettings, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw unreadableFile(setting, error);
  }
}

function certificateIn(pem: Buffer): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new ConfigError('CMBS_TLS_CERT must name a file with a certificate in PEM.', { cause });
  }
}

function keyIn(pem: Buffer): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new ConfigError('CMBS_TLS_KEY must name a file with a private key in PEM, without a passphrase.', {
      cause,
    });
  }
}
