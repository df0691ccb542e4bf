import { opensslCrypto } from '#libs/openssl';
import {
  evaluatePolicy,
  parsePodmanPolicy,
  readKeyRing,
  verifySigstoreAttachment,
  type PodmanPolicy,
  type Requirement,
  type SignedIdentity,
} from '#libs/simple-signing';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { readInput } from './files.js';
import { withExits } from './simple-failure.js';
import { openImage, policyImage, policyPath, type ImageFlags } from './simple-image.js';
import { decisionJson, printDecision, type NamedDecision } from './simple-text.js';
import { jsonText } from './style.js';

export interface EvaluateOptions extends ImageFlags {
  policy?: string;
  json?: boolean;
}

export interface SimpleVerifyOptions extends ImageFlags {
  keyring: string[];
  signature?: string;
  signedIdentity: string;
  signedReference?: string;
  json?: boolean;
}

const MAX_POLICY = 4 * 1024 * 1024;
const MAX_KEYS = 1024 * 1024;
const MAX_SIGNATURE = 64 * 1024;

/** `policy evaluate IMAGE`: what podman and skopeo would say. */
export function evaluate(terminal: Terminal, reference: string, options: EvaluateOptions): Promise<ExitCode> {
  return withExits(async () => {
    const path = await policyPath(terminal, options.policy);
    const policy = parsePodmanPolicy(await readInput(path, 'the policy', MAX_POLICY));
    return decide(terminal, reference, { policy, flags: options, json: options.json === true });
  });
}

/** `simple verify IMAGE`: a policy of one requirement, made of flags. */
export function simpleVerify(terminal: Terminal, reference: string, options: SimpleVerifyOptions): Promise<ExitCode> {
  return withExits(async () => {
    const requirement: Requirement = {
      type: 'signedBy',
      keyType: 'GPGKeys',
      keys: { kind: 'paths', paths: options.keyring },
      signedIdentity: readIdentity(options),
    };
    // That a ring cannot be read is an error here, where it was given; for a policy it is a reason to refuse.
    await readKeyRing(await Promise.all(options.keyring.map((path) => readInput(path, 'the key ring', MAX_KEYS))));
    const policy: PodmanPolicy = { default: [requirement], transports: new Map() };
    const given =
      options.signature === undefined
        ? undefined
        : [await readInput(options.signature, 'the signature', MAX_SIGNATURE)];
    return decide(terminal, reference, { policy, flags: options, given, json: options.json === true });
  });
}

function readIdentity({ signedIdentity: type, signedReference }: SimpleVerifyOptions): SignedIdentity {
  switch (type) {
    case 'matchExact':
    case 'matchRepoDigestOrExact':
    case 'matchRepository':
      if (signedReference === undefined) return { type };
      throw new CliError('usage', `--signed-reference is not for ${type}`);
    case 'exactReference':
    case 'exactRepository':
      if (signedReference === undefined)
        throw new CliError('usage', `--signed-reference is missing: ${type} asks for it`);
      return type === 'exactReference'
        ? { type, dockerReference: signedReference }
        : { type, dockerRepository: signedReference };
    default:
      throw new CliError('usage', `--signed-identity ${type} is unknown`);
  }
}

async function decide(
  terminal: Terminal,
  reference: string,
  what: { policy: PodmanPolicy; flags: ImageFlags; given?: readonly Uint8Array[] | undefined; json: boolean },
): Promise<ExitCode> {
  const { policy, flags, given, json } = what;
  const now = new Date(terminal.now());
  const image = await openImage(terminal, reference, flags);
  const decisions: NamedDecision[] = [];
  try {
    for (const manifest of image.manifests) {
      const decision = await evaluatePolicy(policy, policyImage(terminal, image, manifest, { flags, given }), {
        readFile: (path) => readInput(path, 'the file', MAX_KEYS),
        verifySigstoreSigned: (attachment, trust) =>
          verifySigstoreAttachment(attachment, trust, { crypto: opensslCrypto, now }),
        now,
      });
      decisions.push({ decision, platform: manifest.platform });
    }
  } finally {
    await image.close();
  }
  const allowed = decisions.length > 0 && decisions.every(({ decision }) => decision.allowed);
  if (json) terminal.out(jsonText({ ok: allowed, decisions: decisions.map(decisionJson) }));
  else for (const decision of decisions) printDecision(terminal, decision);
  return allowed ? exitCodes.ok : exitCodes.failed;
}
