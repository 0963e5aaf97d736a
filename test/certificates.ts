/** Certificates for tests, made by `openssl`: Node can make keys, but no certificates. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PATIENCE_MS } from './patience';
import { itNeeding } from './skipping';

const hasOpenssl = spawnSync('openssl', ['version'], { timeout: PATIENCE_MS, stdio: 'ignore' }).status === 0;

export const itWithOpenssl = itNeeding(hasOpenssl ? undefined : 'needs openssl');

/** The paths of a certificate and of its private key. */
export interface TestCertificate {
  readonly cert: string;
  readonly key: string;
  /** The certificate, which clients can trust as its own issuer. */
  readonly pem: string;
}

/** Makes a certificate for 127.0.0.1 and `name`, in files with this name. */
export function makeCertificate(directory: string, name: string): TestCertificate {
  const [cert, key] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)];
  const ours = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=IP:127.0.0.1,DNS:${name}`, '-days', '2'];
  const elliptic = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  execFileSync('openssl', ['req', '-x509', ...elliptic, '-keyout', key, '-out', cert, ...ours], {
    timeout: PATIENCE_MS,
    stdio: 'pipe',
  });
  return { cert, key, pem: readFileSync(cert, 'utf8') };
}
