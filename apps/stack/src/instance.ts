import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { chmod, mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeHex } from '#libs/encoding';
import type { Log } from '#libs/nest';
import { generateSigner, loadSigner } from '#libs/openssl';
import { parseCertificatePem } from '#libs/x509';
import { createAuthority } from '../../ca/src/authority.js';
import { createTimestampAuthority } from '../../tsa/src/authority.js';

/**
 * What a data folder holds besides the database and the tiles:
 *
 *     keys/ca.pem             signs certificates              keys/ca-chain.pem   its chain, issuing certificate first
 *     keys/ca-root.pem        signed ca-chain once; not needed to run: move it somewhere safe
 *     keys/ct.pem             signs SCTs and the CT log's tree heads
 *     keys/log.pem            signs the transparency log's checkpoints (Rekor v2)
 *     keys/log-v1.pem         signs the checkpoints and entry timestamps of the log's other tree (Rekor v1)
 *     keys/tsa.pem            signs timestamps                keys/tsa-chain.pem  its chain, signing certificate first
 *     keys/tsa-root.pem       signed tsa-chain once; not needed to run
 *     ca.db                   the issuing record: every certificate
 *     instance.json           who this instance is, with the fingerprint of each of these; written last
 */
export interface Instance {
  readonly createdAt: Date;
  /** The name of its issuing record; undefined if it was made before there were any. */
  readonly issuingRecord: string | undefined;
  readonly origins: Origins;
  readonly keys: {
    readonly ca: string;
    readonly caChain: string;
    readonly ct: string;
    readonly log: string;
    readonly logV1: string;
    readonly tsa: string;
    readonly tsaChain: string;
  };
}

/** What the logs are called, for ever. */
interface Origins {
  readonly log: string;
  /** The Rekor v1 tree: `<hostname> - <treeId>` in its checkpoints. `treeId`: decimal, 1 to 2^63-1. */
  readonly logV1: { readonly hostname: string; readonly treeId: string };
  readonly ct: string;
}

/** Files whose public half clients already trust: changing one is a different instance. */
const pinned = {
  ca: 'ca.pem',
  caChain: 'ca-chain.pem',
  ct: 'ct.pem',
  log: 'log.pem',
  logV1: 'log-v1.pem',
  tsa: 'tsa.pem',
  tsaChain: 'tsa-chain.pem',
} as const;
type PinnedFile = keyof typeof pinned;

const manifestName = 'instance.json';

interface Manifest {
  readonly version: 2;
  readonly createdAt: string;
  readonly origins: Origins;
  readonly fingerprints: Readonly<Record<PinnedFile, string>>;
  /** Absent in an instance that was made before there were issuing records. */
  readonly issuingRecord?: string;
}

export type InstanceErrorCode =
  | 'INSTANCE_KEY_MISSING'
  | 'INSTANCE_KEY_FOREIGN'
  | 'INSTANCE_RECORD_MISSING'
  | 'INSTANCE_RECORD_FOREIGN'
  | 'INSTANCE_INCOMPLETE'
  | 'INSTANCE_UNREADABLE';

export class InstanceError extends Error {
  constructor(
    readonly code: InstanceErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Is there nothing here yet but what the lock made? Then the instance may be created. */
export function isEmptyFolder(folder: string): boolean {
  return !existsSync(folder) || readdirSync(folder).every((name) => name === 'lock' || name.startsWith('lock-'));
}

/**
 * Makes the keys of a new instance in an empty folder, saying so. The manifest is `finish`ed by the caller once the databases exist too:
 * a crash before that leaves a folder that is refused, not one that half works.
 */
export async function createInstance(
  folder: string,
  options: { url: URL; organization: string; now: () => Date; log: Log },
): Promise<{ instance: Instance; finish: (issuingRecord: string) => Promise<void> }> {
  const { log } = options;
  const keysFolder = join(folder, 'keys');
  await mkdir(keysFolder, { recursive: true, mode: 0o700 });
  // Whole seconds: certificates know no finer, and nothing signed here may be older than its key.
  const createdAt = new Date(Math.floor(options.now().getTime() / 1000) * 1000);

  log.warn('THIS FOLDER IS EMPTY: making the keys of a new instance', { folder });
  const ca = await createAuthority({
    organization: options.organization,
    commonName: `${options.organization} CA`,
    now: createdAt,
    keyType: 'P-256',
  });
  const tsa = await createTimestampAuthority({
    organization: options.organization,
    commonName: `${options.organization} TSA`,
    now: createdAt,
  });
  const files = {
    ca: ca.keyPem,
    caChain: ca.chainPem,
    ct: generateSigner('P-256').exportPkcs8Pem(),
    log: generateSigner('ed25519').exportPkcs8Pem(),
    logV1: generateSigner('P-256').exportPkcs8Pem(),
    tsa: tsa.keyPem,
    tsaChain: tsa.chainPem,
  } as const satisfies Record<PinnedFile, string>;
  for (const [role, text] of Object.entries(files)) {
    await writeDurably(join(keysFolder, pinned[role as PinnedFile]), text, 0o600);
  }
  await writeDurably(join(keysFolder, 'ca-root.pem'), ca.rootKeyPem, 0o600);
  await writeDurably(join(keysFolder, 'tsa-root.pem'), tsa.rootKeyPem, 0o600);

  const fingerprints = Object.fromEntries(
    Object.entries(files).map(([role, text]) => [role, fingerprint(role as PinnedFile, text)]),
  ) as Record<PinnedFile, string>;
  for (const role of ['ca', 'ct', 'log', 'logV1', 'tsa'] as const) {
    log.warn('new key', { role, file: `keys/${pinned[role]}`, fingerprint: fingerprints[role] });
  }
  log.warn('keys/ca-root.pem and keys/tsa-root.pem are not needed to run: move them to a safe place', {});

  const manifest: Manifest = {
    version: 2,
    createdAt: createdAt.toISOString(),
    // Names for ever. No port: clients take the host of the base URL without it (sigstore-go: pkg/verify/tlog.go).
    origins: {
      log: options.url.hostname,
      logV1: { hostname: options.url.hostname, treeId: String(newTreeId()) },
      ct: `${options.url.host}/ct`,
    },
    fingerprints,
  };
  return {
    instance: { createdAt, origins: manifest.origins, keys: files, issuingRecord: undefined },
    finish: (issuingRecord) => writeManifest(folder, { ...manifest, issuingRecord }),
  };
}

/** Notes in the manifest that the instance has an issuing record from now on: without it, it does not start again. */
export async function nameIssuingRecord(folder: string, issuingRecord: string): Promise<void> {
  const manifest = parseManifest(await readFile(join(folder, manifestName), 'utf8'));
  await writeManifest(folder, { ...manifest, issuingRecord });
}

function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  return writeDurably(join(folder, manifestName), `${JSON.stringify(manifest, undefined, 2)}\n`, 0o600);
}

/**
 * Reads an instance that was made before, and refuses one whose keys are not the ones it was made with.
 * @throws InstanceError
 */
export async function loadInstance(folder: string): Promise<Instance> {
  const manifestFile = join(folder, manifestName);
  if (!existsSync(manifestFile)) {
    throw new InstanceError(
      'INSTANCE_INCOMPLETE',
      `Cannot use the data folder ${folder}: it is not empty, but has no instance.json; if its creation was interrupted, remove it and start again`,
    );
  }
  const manifest = parseManifest(await readFile(manifestFile, 'utf8'));
  const read = async (role: PinnedFile): Promise<string> => {
    const file = join(folder, 'keys', pinned[role]);
    let text: string;
    try {
      text = await readFile(file, 'utf8');
    } catch (cause) {
      throw new InstanceError(
        'INSTANCE_KEY_MISSING',
        `Cannot read keys/${pinned[role]}: restore it from a backup; a new key would make everything signed so far worthless`,
        { cause },
      );
    }
    const found = fingerprint(role, text);
    const expected = manifest.fingerprints[role];
    if (found !== expected) {
      throw new InstanceError(
        'INSTANCE_KEY_FOREIGN',
        `Cannot use keys/${pinned[role]}: it is not the one this instance was made with (fingerprint ${found}, expected ${expected})`,
      );
    }
    return text;
  };
  return {
    createdAt: new Date(manifest.createdAt),
    origins: manifest.origins,
    issuingRecord: manifest.issuingRecord,
    keys: {
      ca: await read('ca'),
      caChain: await read('caChain'),
      ct: await read('ct'),
      log: await read('log'),
      logV1: await read('logV1'),
      tsa: await read('tsa'),
      tsaChain: await read('tsaChain'),
    },
  };
}

/** The development issuer's key: worth nothing, kept only so that tokens outlive a restart. */
export async function loadOrCreateDevKey(folder: string): Promise<string> {
  const file = join(folder, 'keys', 'dev-oidc.pem');
  if (existsSync(file)) return readFile(file, 'utf8');
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  await writeDurably(file, pem, 0o600);
  return pem;
}

/** SHA-256 of what clients know of the file: the public key, or the certificates. Hex. */
function fingerprint(role: PinnedFile, text: string): string {
  const hash = createHash('sha256');
  try {
    if (role === 'caChain' || role === 'tsaChain') for (const { der } of parseCertificatePem(text)) hash.update(der);
    else hash.update(loadSigner(text).publicKey.spki);
  } catch (cause) {
    // By the look of it: what is broken cannot be parsed to say what it is.
    const labels = Array.from(text.matchAll(/^-----BEGIN ([A-Z0-9 ]{1,40})-----/gm), ([, label]) => label);
    throw new InstanceError(
      'INSTANCE_UNREADABLE',
      `Cannot read keys/${pinned[role]}: expected ${role.endsWith('Chain') ? 'certificates' : 'a private key'} in PEM, found ${labels.join(', ') || 'something else'}`,
      { cause },
    );
  }
  return encodeHex(hash.digest());
}

function parseManifest(text: string): Manifest {
  const unreadable = (cause?: unknown): InstanceError =>
    new InstanceError('INSTANCE_UNREADABLE', 'Cannot read instance.json: restore it from a backup', { cause });
  let manifest: Partial<Manifest> | null;
  try {
    manifest = JSON.parse(text) as Partial<Manifest> | null;
  } catch (cause) {
    throw unreadable(cause);
  }
  if (manifest === null) throw unreadable();
  if ((manifest as { version?: unknown }).version === 1) {
    throw new InstanceError(
      'INSTANCE_UNREADABLE',
      'Cannot use the data folder: it was made before the log had its second tree; make a new instance in an empty folder',
    );
  }
  const { version, createdAt, origins, fingerprints, issuingRecord } = manifest;
  const complete =
    version === 2 &&
    typeof createdAt === 'string' &&
    !Number.isNaN(Date.parse(createdAt)) &&
    typeof origins?.log === 'string' &&
    typeof origins.ct === 'string' &&
    // The file may hold anything, whatever its type says.
    typeof origins.logV1?.hostname === 'string' &&
    typeof origins.logV1.treeId === 'string' &&
    /^[1-9]\d{0,18}$/.test(origins.logV1.treeId) &&
    fingerprints !== undefined &&
    // The file may hold null, whatever its type says.
    Object.keys(pinned).every((role) => typeof fingerprints?.[role as PinnedFile] === 'string') &&
    (issuingRecord === undefined || (typeof issuingRecord === 'string' && /^[0-9a-f]{32}$/.test(issuingRecord)));
  if (!complete) throw unreadable();
  return { version, createdAt, origins, fingerprints, ...(issuingRecord !== undefined && { issuingRecord }) };
}

/** Rekor v1's trees are named by a positive 63-bit number; random, so that entry ids of two instances differ. */
function newTreeId(): bigint {
  const id = randomBytes(8).readBigUInt64BE() >> 1n;
  return id === 0n ? newTreeId() : id;
}

/** Temporary file, fsync, rename, fsync of the folder: after a power cut there is the whole file or none. */
async function writeDurably(file: string, text: string, mode: number): Promise<void> {
  const temporary = `${file}.tmp`;
  const handle = await open(temporary, 'w', mode);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await chmod(temporary, mode);
  await rename(temporary, file);
  const parent = await open(join(file, '..'), 'r');
  try {
    await parent.sync();
  } finally {
    await parent.close();
  }
}
