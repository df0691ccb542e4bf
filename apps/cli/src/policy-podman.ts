import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parsePublicKeyPem, type PublicKey } from '#libs/crypto';
import { encodePem, encodeUtf8 } from '#libs/encoding';
import {
  encodePodmanPolicy,
  encodeRegistries,
  type Material,
  parseImageName,
  type PodmanPolicy,
  type RegistriesConfig,
  type Requirement,
  repositoryName,
} from '#libs/simple-signing';
import { isValidAt, type TrustedRoot } from '#libs/trust';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { fileReason, readInput, writeAtomically } from './files.js';
import { withExits } from './simple-failure.js';
import { jsonText, style } from './style.js';
import { parseOr, readTrustedRoot } from './trust-files.js';

export interface PodmanOptions {
  trustedRoot?: string;
  scope: string[];
  certificateIdentity?: string;
  certificateOidcIssuer?: string;
  key?: string[];
  keyring?: string[];
  lookaside?: string;
  default: 'reject' | 'insecureAcceptAnything';
  out?: string;
  json?: boolean;
}

/** A policy and the registries.d file that belongs to it, with what they leave out. */
interface PodmanFiles {
  readonly policy: PodmanPolicy;
  readonly registries: RegistriesConfig;
  readonly notes: readonly string[];
}

/** `policy podman`: what to put into policy.json and registries.d so that podman, skopeo and CRI-O ask for signatures of this instance. */
export function printPodmanPolicy(terminal: Terminal, options: PodmanOptions): Promise<ExitCode> {
  return withExits(async () => {
    const files = await makeFiles(options, new Date(terminal.now()));
    const policy = Buffer.from(encodePodmanPolicy(files.policy)).toString('utf8');
    const registries = Buffer.from(encodeRegistries(files.registries)).toString('utf8');
    const paint = style(terminal.colours.err);
    if (options.json === true) {
      terminal.out(
        jsonText({ ok: true, policy: JSON.parse(policy) as unknown, registriesD: registries, notes: files.notes }),
      );
      return exitCodes.ok;
    }
    if (options.out === undefined) {
      const heading = style(terminal.colours.out).faint;
      terminal.out(`${heading('# /etc/containers/policy.json')}\n${policy}\n`);
      terminal.out(`${heading('# /etc/containers/registries.d/chancery.yaml')}\n${registries}`);
    } else {
      const paths = [join(options.out, 'policy.json'), join(options.out, 'registries.d', 'chancery.yaml')] as const;
      await mkdir(join(options.out, 'registries.d'), { recursive: true }).catch((cause: unknown) => {
        throw new CliError('unreadable', `Cannot write into ${options.out}: ${fileReason(cause)}`, { cause });
      });
      await writeAtomically(paths[0], policy);
      await writeAtomically(paths[1], registries);
      for (const path of paths) terminal.out(`${path}\n`);
    }
    for (const note of files.notes) terminal.err(`${paint.warn('note:')} ${note}\n`);
    return exitCodes.ok;
  });
}

async function makeFiles(options: PodmanOptions, now: Date): Promise<PodmanFiles> {
  const requirements: Requirement[] = [];
  const notes: string[] = [];
  const byIdentity = options.certificateIdentity !== undefined || options.certificateOidcIssuer !== undefined;
  const keyFiles = options.key ?? [];
  if (byIdentity && keyFiles.length > 0) {
    throw new CliError('usage', 'Cannot ask for both an identity and --key: a signature is by one of them');
  }
  if (byIdentity && options.trustedRoot === undefined)
    throw new CliError('usage', 'Cannot ask for an identity: --trusted-root is missing');
  const root = options.trustedRoot === undefined ? undefined : await readTrustedRoot(options.trustedRoot);
  if (keyFiles.length > 0) {
    const made = keyRequirement(await Promise.all(keyFiles.map(readPublicKey)), root);
    requirements.push(made.requirement);
    notes.push(...made.notes);
  } else if (root !== undefined) {
    const made = fulcioRequirement(root, options, now);
    requirements.push(made.requirement);
    notes.push(...made.notes);
  }
  const bySigstore = requirements.length > 0;
  const keyring = options.keyring ?? [];
  if (keyring.length > 0) {
    requirements.push({
      type: 'signedBy',
      keyType: 'GPGKeys',
      keys: { kind: 'paths', paths: keyring },
      signedIdentity: { type: 'matchRepoDigestOrExact' },
    });
    if (options.lookaside === undefined)
      notes.push('Without --lookaside podman looks for OpenPGP signatures in its own folder only.');
    if (bySigstore)
      notes.push('Both requirements must hold: every image needs a signature of Sigstore and an OpenPGP signature.');
  }
  if (requirements.length === 0) {
    throw new CliError(
      'usage',
      'Cannot make a policy: give --trusted-root with an identity or --key, --keyring, or both',
    );
  }
  const scopes = options.scope.map(checkScope);
  const section = {
    ...(options.lookaside !== undefined && { lookaside: options.lookaside }),
    ...(bySigstore && { useSigstoreAttachments: true }),
  };
  return {
    policy: {
      default: [{ type: options.default }],
      transports: new Map([['docker', new Map(scopes.map((scope) => [scope, requirements]))]]),
    },
    registries: { docker: new Map(scopes.map((scope) => [scope, section])) },
    notes,
  };
}

/** A host, `*.` and a domain, or a name in the expanded form: others fit no image, and podman says nothing about it. */
function checkScope(scope: string): string {
  if (/^(?:\*\.)?[A-Za-z0-9.-]+(?::[0-9]+)?$/.test(scope) && /[.:]|^localhost$/.test(scope)) return scope;
  const name = parseImageName(scope);
  if (
    scope === repositoryName(name) ||
    scope.startsWith(`${repositoryName(name)}:`) ||
    scope.startsWith(`${repositoryName(name)}@`)
  )
    return scope;
  throw new CliError('usage', `--scope ${scope} fits no image: it must be written out, as ${repositoryName(name)}`);
}

function fulcioRequirement(
  root: TrustedRoot,
  { certificateIdentity, certificateOidcIssuer }: PodmanOptions,
  now: Date,
): { requirement: Requirement; notes: string[] } {
  if (certificateIdentity === undefined || certificateOidcIssuer === undefined) {
    throw new CliError(
      'usage',
      'Cannot ask for an identity: --certificate-identity and --certificate-oidc-issuer belong together',
    );
  }
  if (!/^[^\s@]+@[^\s@]+$/.test(certificateIdentity)) {
    throw new CliError(
      'usage',
      'Cannot ask for this identity: podman knows e-mail addresses only, not the URIs of workflows and workloads',
    );
  }
  const authorities = root.certificateAuthorities.filter(({ validFor }) => isValidAt(validFor, now));
  if (authorities.length === 0)
    throw new CliError('unreadable', 'Cannot make a policy: the trusted root has no certificate authority for now');
  const ca = authorities
    .flatMap(({ certChain }) => certChain.slice(-1))
    .map(({ der }) => encodePem('CERTIFICATE', der));
  const logs = logKeys(root);
  return {
    requirement: {
      type: 'sigstoreSigned',
      by: {
        kind: 'fulcio',
        ca: { kind: 'data', data: [encodeUtf8(ca.join(''))] },
        oidcIssuer: certificateOidcIssuer,
        subjectEmail: certificateIdentity,
      },
      rekorKeys: logs.material,
      signedIdentity: anyTag,
    },
    notes: [
      'Podman reads signatures in the legacy layout only, with a promise of a Rekor v1 log: sign with `chancery image sign` in that layout and a log of version 1. It reads no bundles (OCI referrers), no proofs of a Rekor v2, no timestamps of an authority.',
      'Podman does not check SCTs, nor whether keys of logs and authorities were valid when they signed: where the trusted root says from when to when, the policy cannot. Make it again when the trusted root changes.',
      ANY_TAG_NOTE,
      ...logs.notes,
    ],
  };
}

/** Signatures of cosign and of ours in this layout name no tag, which any other match would ask for. */
const anyTag = { type: 'matchRepository' } as const;
const ANY_TAG_NOTE =
  'The signature names the repository and not the tag: podman accepts any image of the repository that was signed, under any of its tags. `chancery tag verify` asks what a tag means.';

/** The keys whose promises podman reads. @throws CliError `unreadable` if there is none */
function logKeys(root: TrustedRoot): { material: Material; notes: string[] } {
  const keys = root.tlogs.filter(({ publicKey }) => publicKey.kind === 'ecdsa');
  const others = root.tlogs.length - keys.length;
  if (keys.length === 0) {
    throw new CliError(
      'unreadable',
      'Cannot make a policy: the trusted root has no log with an ECDSA key, and podman reads promises of no other',
      {
        cure: 'Podman needs the log with the API of Rekor v1: see `chancery trust export`',
      },
    );
  }
  const data = keys.map(({ publicKey }) => encodeUtf8(encodePem('PUBLIC KEY', publicKey.spki)));
  return {
    material: { kind: 'data', data },
    notes: [
      ...(others === 0 ? [] : [`${others} of the logs are left out: their keys are not for ECDSA.`]),
      ...(keys.length > 1
        ? ['rekorPublicKeyDatas needs podman 5.4 or later; earlier ones know one key (rekorPublicKeyData).']
        : []),
    ],
  };
}

const MAX_KEY_BYTES = 64 * 1024;

async function readPublicKey(path: string): Promise<PublicKey> {
  const bytes = await readInput(path, 'the public key', MAX_KEY_BYTES);
  return parseOr('unreadable', `the public key ${path}`, () => parsePublicKeyPem(Buffer.from(bytes).toString('utf8')));
}

/** Any of the keys will do. With a trusted root one of its logs must have promised the entry too. */
function keyRequirement(
  keys: readonly PublicKey[],
  root: TrustedRoot | undefined,
): { requirement: Requirement; notes: string[] } {
  const data = keys.map(({ spki }) => encodeUtf8(encodePem('PUBLIC KEY', spki)));
  const logs = root && logKeys(root);
  // Podman hashes with SHA-256 whatever the curve, and knows no Ed25519ph; `image sign` signs as logs verify, with the hash of the key.
  const unverifiable = keys.filter(
    (key) => key.kind === 'ed25519' || (key.kind === 'ecdsa' && key.type.curve !== 'P-256'),
  );
  return {
    requirement: {
      type: 'sigstoreSigned',
      by: { kind: 'keys', keys: { kind: 'data', data } },
      ...(logs && { rekorKeys: logs.material }),
      signedIdentity: anyTag,
    },
    notes: [
      'Podman reads signatures in the legacy layout only: sign with `chancery image sign --layout legacy --key`. It reads no bundles (OCI referrers).',
      ANY_TAG_NOTE,
      ...(unverifiable.length > 0
        ? [
            'Podman verifies what `chancery image sign` signs with keys for ECDSA P-256 and RSA only, and one of these is another.',
          ]
        : []),
      ...(keys.length > 1 ? ['keyDatas needs podman 5.4 or later; earlier ones know one key (keyData).'] : []),
      ...(logs?.notes ?? [
        'Without --trusted-root no log is asked for: podman accepts signatures that were never published.',
      ]),
    ],
  };
}
