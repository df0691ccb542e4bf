import type { CryptoPort } from '#libs/crypto';
import { encodeHex, equalBytes } from '#libs/encoding';
import { basicConstraints, type Certificate, extendedKeyUsage, verifyCertificateSignature } from '#libs/x509';
import { CtError } from './errors.js';

/** The extended key usage of what this CA issues (RFC 5280 §4.2.1.12). */
export const codeSigning = '1.3.6.1.5.5.7.3.3';

const maxChain = 8;

/** The roots whose certificates this log takes, and the check of a submitted chain against them. */
export class AcceptedRoots {
  readonly #bySubject = new Map<string, Certificate[]>();
  /** Fingerprints of issuers whose own path to a root has been verified. They are few: each belongs to an accepted CA. */
  readonly #verified = new Map<string, readonly Certificate[]>();

  constructor(
    readonly roots: readonly Certificate[],
    private readonly policy: {
      crypto: CryptoPort;
      /** The leaf must list one of these extended key usages; empty for no such rule. */
      extendedKeyUsages: readonly string[];
    },
  ) {
    for (const root of roots) {
      const subject = encodeHex(root.subject);
      this.#bySubject.set(subject, [...(this.#bySubject.get(subject) ?? []), root]);
    }
  }

  /**
   * The chain from the leaf's issuer to an accepted root. The submitted certificates must be exactly that chain, in order; only the root may be left
   * out (RFC 6962 §3.1). Validity times do not matter: a log must take what has just expired, and ten minutes go by quickly.
   * @throws CtError `CT_CHAIN`
   */
  async issuersOf(chain: readonly Certificate[]): Promise<readonly [Certificate, ...Certificate[]]> {
    const refuse = (reason: string): CtError => new CtError('CT_CHAIN', reason);
    const leaf = chain[0];
    if (leaf === undefined) throw refuse('chain is empty');
    if (chain.length > maxChain) throw refuse(`chain has ${chain.length} certificates, at most ${maxChain}`);
    const usages = this.policy.extendedKeyUsages;
    if (usages.length > 0 && !extendedKeyUsage(leaf)?.oids.some((oid) => usages.includes(oid))) {
      throw refuse('certificate does not have an extended key usage that this log takes');
    }
    const [issuer, ...rest] = await this.#path(chain.slice(1), leaf);
    if (issuer === undefined || !(await this.#signed(leaf, issuer))) {
      throw refuse('no RFC compliant path to root found when trying to validate chain');
    }
    return [issuer, ...rest];
  }

  /** The issuers, root included: what was submitted, checked link by link, plus the root if it was left out. */
  async #path(issuers: readonly Certificate[], leaf: Certificate): Promise<readonly Certificate[]> {
    const key = issuers.map(({ der }) => encodeHex(this.policy.crypto.hash('sha256', der))).join();
    const known = this.#verified.get(key);
    if (known !== undefined && issuers.length > 0) return known;

    const refuse = (): CtError =>
      new CtError('CT_CHAIN', 'no RFC compliant path to root found when trying to validate chain');
    const isRoot = ({ der }: Certificate): boolean => this.roots.some((root) => equalBytes(root.der, der));
    for (const [index, issuer] of issuers.entries()) {
      const next = issuers[index + 1];
      // A root ends the path: it has signed itself, and so could follow itself.
      if (next !== undefined && (isRoot(issuer) || !(await this.#signed(issuer, next)))) throw refuse();
    }
    const last = issuers.at(-1) ?? leaf;
    let path = issuers;
    if (!isRoot(last)) {
      const root = await this.#rootOf(last);
      if (root === undefined) throw refuse();
      path = [...issuers, root];
    }
    if (issuers.length > 0) this.#verified.set(key, path);
    return path;
  }

  async #rootOf(certificate: Certificate): Promise<Certificate | undefined> {
    for (const root of this.#bySubject.get(encodeHex(certificate.issuer)) ?? []) {
      if (await this.#signed(certificate, root)) return root;
    }
    return undefined;
  }

  async #signed(certificate: Certificate, issuer: Certificate): Promise<boolean> {
    return (
      // Each holder of a certificate has a key, and could issue below it without end.
      basicConstraints(issuer)?.ca === true &&
      equalBytes(certificate.issuer, issuer.subject) &&
      (await verifyCertificateSignature(certificate, issuer, this.policy.crypto))
    );
  }
}
