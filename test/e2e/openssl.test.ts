// OpenSSL's command line and @peculiar/x509 as readers of what the services make: neither shares code with us.
import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync, sign as cryptoSign, webcrypto } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import 'reflect-metadata';
import * as peculiar from '@peculiar/x509';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseTrustedRoot } from '#libs/trust';
import { opensslCrypto } from '#libs/openssl';
import { embeddedScts, fulcioExtensions, parseCertificatePem, subjectAltNames, verifySct } from '#libs/x509';
import { gitHubClaims, startWorld, type World } from '../world/index.js';

const hasOpenssl = (() => {
  try {
    execFileSync('openssl', ['version']);
    return true;
  } catch {
    console.warn('openssl is not installed: its checks are skipped');
    return false;
  }
})();

describe('independent readers', () => {
  let world: World;
  let folder: string;
  beforeAll(async () => {
    world = await startWorld();
    folder = await mkdtemp(join(tmpdir(), 'chancery-openssl-'));
  });
  afterAll(async () => {
    await world.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function issue(claims: Record<string, unknown>): Promise<string[]> {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const challenge = String(claims['email'] ?? claims['sub']);
    const response = await fetch(`${world.url}/api/v2/signingCert`, {
      method: 'POST',
      body: JSON.stringify({
        credentials: { oidcIdentityToken: await world.token(claims) },
        publicKeyRequest: {
          publicKey: { algorithm: 'ECDSA', content: publicKey.export({ type: 'spki', format: 'pem' }) },
          proofOfPossession: cryptoSign('sha256', Buffer.from(challenge), privateKey).toString('base64'),
        },
      }),
    });
    expect(response.status).toBe(200);
    const answer = (await response.json()) as {
      signedCertificateEmbeddedSct: { chain: { certificates: string[] } };
    };
    return answer.signedCertificateEmbeddedSct.chain.certificates;
  }

  it.skipIf(!hasOpenssl)('openssl ts accepts our timestamps, with and without the certificate inside', async () => {
    const chain = await (await fetch(`${world.url}/api/v1/timestamp/certchain`)).text();
    const [leaf, root] = chain.match(/-----BEGIN[\s\S]*?-----END CERTIFICATE-----\n/g) ?? [];
    await writeFile(join(folder, 'tsa-leaf.pem'), leaf ?? '');
    await writeFile(join(folder, 'tsa-root.pem'), root ?? '');
    await writeFile(join(folder, 'data'), 'what is stamped');
    for (const flags of [['-cert'], []]) {
      const query = join(folder, `query${flags.length}.tsq`);
      execFileSync('openssl', ['ts', '-query', '-data', join(folder, 'data'), '-sha256', ...flags, '-out', query]);
      const response = await fetch(`${world.url}/api/v1/timestamp`, {
        method: 'POST',
        headers: { 'content-type': 'application/timestamp-query' },
        body: await readFile(query),
      });
      expect(response.status).toBe(200);
      expect(response.headers.get('content-type')).toBe('application/timestamp-reply');
      const reply = join(folder, 'reply.tsr');
      await writeFile(reply, new Uint8Array(await response.arrayBuffer()));
      const verified = execFileSync(
        'openssl',
        ['ts', '-verify', '-queryfile', query, '-in', reply, '-CAfile', join(folder, 'tsa-root.pem')].concat([
          '-untrusted',
          join(folder, 'tsa-leaf.pem'),
        ]),
        { stdio: ['ignore', 'pipe', 'pipe'] },
      );
      expect(verified.toString()).toContain('Verification: OK');
    }
  });

  it.skipIf(!hasOpenssl)('openssl reads a certificate and builds its chain', async () => {
    const [leaf = '', intermediate = '', root = ''] = await issue({ email: 'alice@example.com' });
    const file = (name: string): string => join(folder, name);
    await writeFile(file('leaf.pem'), `${leaf}\n`);
    await writeFile(file('intermediate.pem'), `${intermediate}\n`);
    await writeFile(file('root.pem'), `${root}\n`);
    const text = execFileSync('openssl', ['x509', '-in', file('leaf.pem'), '-noout', '-text']).toString();
    expect(text).toContain('email:alice@example.com');
    expect(text).toContain('Code Signing');
    expect(text).toMatch(/X509v3 Subject Alternative Name: critical/);
    expect(text).toMatch(/CT Precertificate SCTs/);
    const verified = execFileSync('openssl', [
      ...['verify', '-purpose', 'any', '-x509_strict', '-CAfile', file('root.pem')],
      ...['-untrusted', file('intermediate.pem'), file('leaf.pem')],
    ]).toString();
    expect(verified).toContain('leaf.pem: OK');
  });

  it('the SCT of a certificate verifies with the trusted key of the CT log', async () => {
    const trusted = parseTrustedRoot(await world.trustedRoot());
    const [leaf = '', intermediate = ''] = await issue({ email: 'alice@example.com' });
    const [certificate, issuer] = parseCertificatePem(`${leaf}\n${intermediate}`);
    const [sct] = certificate ? embeddedScts(certificate) : [];
    const key = trusted.ctlogs[0]?.publicKey;
    if (!certificate || !issuer || !sct || !key) throw new Error('nothing to verify');
    await verifySct(sct, certificate, issuer, key, opensslCrypto);
    expect(Buffer.from(sct.logId).equals(createHash('sha256').update(key.spki).digest())).toBe(true);
    await expect(
      verifySct({ ...sct, timestampMs: sct.timestampMs + 1n }, certificate, issuer, key, opensslCrypto),
    ).rejects.toMatchObject({ code: 'X509_SCT_INVALID' });
  });

  it('@peculiar/x509 reads every kind of certificate back to the same fields', async () => {
    peculiar.cryptoProvider.set(webcrypto as unknown as Parameters<typeof peculiar.cryptoProvider.set>[0]);
    for (const claims of [{ email: 'alice@example.com' }, gitHubClaims]) {
      const chain = await issue(claims);
      const [leaf, intermediate, root] = chain.map((pem) => new peculiar.X509Certificate(pem));
      const ours = parseCertificatePem(chain[0] ?? '')[0];
      if (!leaf || !intermediate || !root || !ours) throw new Error('the chain is too short');
      expect(BigInt(`0x${leaf.serialNumber}`)).toBe(ours.serialNumber);
      expect(leaf.notBefore).toEqual(ours.notBefore);
      expect(leaf.notAfter.getTime() - leaf.notBefore.getTime()).toBe(600_000);
      expect(leaf.subject).toBe('');
      expect(leaf.issuer).toBe(intermediate.subject);
      const names = leaf.getExtension(peculiar.SubjectAlternativeNameExtension);
      expect(names?.critical).toBe(true);
      expect(names?.names.items.map(({ value }) => value)).toEqual(subjectAltNames(ours).map(({ value }) => value));
      expect(leaf.getExtension(peculiar.KeyUsagesExtension)?.usages).toBe(peculiar.KeyUsageFlags.digitalSignature);
      expect(leaf.getExtension(peculiar.ExtendedKeyUsageExtension)?.usages).toEqual([
        peculiar.ExtendedKeyUsage.codeSigning,
      ]);
      const issuerText = leaf.getExtension('1.3.6.1.4.1.57264.1.1');
      expect(Buffer.from(issuerText?.value ?? new ArrayBuffer(0)).toString()).toBe(fulcioExtensions(ours).issuer);
      expect(await leaf.verify({ publicKey: intermediate.publicKey, signatureOnly: true })).toBe(true);
      expect(await intermediate.verify({ publicKey: root.publicKey, signatureOnly: true })).toBe(true);
    }
  });
});
