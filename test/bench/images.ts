import { spawn, spawnSync } from 'node:child_process';
import { randomBytes, sign, verify, generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { signImage, verifyImage } from '#libs/image';
import { type Descriptor, openRegistry, parseReference, type RegistryStore } from '#libs/oci';
import { opensslCrypto } from '#libs/openssl';
import { chooseServices } from '#libs/sign';
import { parseSigningConfig, parseTrustedRoot } from '#libs/trust';
import { measureFloors, measureRate } from './floor.js';
import { executable } from './process.js';
import { startBenchRegistry } from './registry.js';
import { developmentToken } from './requests.js';
import { middle, note, record, say } from './rows.js';
import type { Server } from './server.js';

const images = 1000;
/** Images that are signed, and then verified, at the same time. */
const atOnce = 16;

/**
 * Verifying images: one as a whole process, beside a process of Node that does nothing and beside cosign where it is installed; and a thousand digests, each
 * with a signature of its own, by one process that runs on. The registry is a third process.
 */
export async function measureImages(server: Server, folder: string): Promise<void> {
  const registry = await startBenchRegistry();
  const store = openRegistry({ repository: parseReference(`${registry.host}/bench/app`) });
  try {
    say(`signing ${images} images`);
    const rootText = await fetchText(`${server.url}/trust/trusted_root.json`);
    const trustedRoot = parseTrustedRoot(rootText);
    const config = parseSigningConfig(await fetchText(`${server.url}/trust/signing_config.v0.2.json`));
    const { token: identityToken, challenge } = await developmentToken(server.url);
    const services = chooseServices(config, { now: new Date() });
    const targets = await inTurns(images, () => pushImage(store));
    await inTurns(images, async (n) => {
      const options = {
        services,
        identityToken,
        layout: 'bundle',
        repository: 'bench/app',
        fetch,
        now: Date.now,
      } as const;
      await signImage(store, targets[n] as Descriptor, { ...options, trustedRoot });
    });

    const issuer = `${server.url}/dev/oidc`;
    const root = join(folder, 'bench-trusted-root.json');
    await writeFile(root, rootText);
    const image = `${registry.host}/bench/app@${targets[0]?.digest}`;
    const identity = ['--certificate-identity', challenge, '--certificate-oidc-issuer', issuer, '--trusted-root', root];
    say('verify of one image, whole process');
    const commands: Record<string, readonly [command: string, ...args: string[]]> = {
      'node -e 0': [process.execPath, '-e', '0'],
      'chancery image verify': [process.execPath, executable, 'image', 'verify', image, ...identity],
    };
    if (spawnSync('cosign', ['version']).status === 0) {
      commands['cosign verify'] = ['cosign', 'verify', image, ...identity, '--allow-http-registry'];
    }
    const times = await timeCommands(commands);
    const idle = times['node -e 0'] ?? 0;
    note('node -e 0', idle, 'ms');
    const ratio = (times['chancery image verify'] ?? 0) / idle;
    record({
      name: 'chancery image verify',
      value: ratio * idle,
      unit: 'ms',
      floor: idle,
      ratio,
      target: '',
      met: true,
    });
    if (times['cosign verify'] !== undefined) note('cosign verify', times['cosign verify'], 'ms');

    say(`verify of ${images} digests by one process`);
    const policy = { kind: 'identity', san: challenge, issuer } as const;
    const rates: { rate: number; floor: number; ratio: number }[] = [];
    for (let round = 0; round < 7; round++) {
      const before = verifyFloor();
      const started = performance.now();
      await inTurns(images, async (n) => {
        const { digest } = targets[n] as Descriptor;
        const report = await verifyImage(store, digest, {
          layouts: ['bundle'],
          policy,
          trustedRoot,
          crypto: opensslCrypto,
        });
        if (!report.ok) throw new Error(`${digest} does not verify: ${report.failure}`);
      });
      const rate = (images / (performance.now() - started)) * 1000;
      const floor = (before + verifyFloor()) / 2;
      // The first two warm up: it is a lot of code, compiled as it proves busy.
      if (round > 1) rates.push({ rate, floor, ratio: rate / floor });
    }
    const { ratio: share, ...beside } = middle(rates, (one) => one.ratio);
    record({
      name: 'image digests verified',
      value: beside.rate,
      unit: '1/s',
      floor: beside.floor,
      ratio: share,
      target: '',
      met: true,
    });
  } finally {
    await store.close();
    await registry.close();
  }
}

/**
 * What a signature cannot do without: certificate, SCT, statement and timestamp by P-256, two of its keys new; the log's checkpoint by Ed25519. The
 * certificates of the authorities are the same for all.
 */
function verifyFloor(): number {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const message = randomBytes(100);
  const signature = sign(null, message, privateKey);
  const ed25519 = measureRate(() => verify(null, message, publicKey, signature), 0.3);
  return 1 / (4 / measureFloors(0.3).verify + 1 / ed25519);
}

/** An image without layers, unlike any other. */
async function pushImage(store: RegistryStore): Promise<Descriptor> {
  const config = Buffer.from(
    JSON.stringify({ architecture: 'amd64', os: 'linux', nonce: randomBytes(8).toString('hex') }),
  );
  const descriptor = await store.putBlob(config, { mediaType: 'application/vnd.oci.image.config.v1+json' });
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = { schemaVersion: 2, mediaType, config: descriptor, layers: [] };
  return (await store.putManifest(Buffer.from(JSON.stringify(manifest)), mediaType)).descriptor;
}

/** Does `work` for 0 … count − 1, some at a time; the results in order. */
async function inTurns<T>(count: number, work: (n: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let n = next++; n < count; n = next++) results[n] = await work(n);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return results;
}

/** Medians of the wall times of commands, milliseconds. In turns: on a shared machine a second is not like the next. */
async function timeCommands(
  commands: Readonly<Record<string, readonly [command: string, ...args: string[]]>>,
): Promise<Record<string, number>> {
  const times: Record<string, number[]> = {};
  for (let n = 0; n < 15; n++) {
    for (const [name, [command, ...args]] of Object.entries(commands)) {
      const started = performance.now();
      await new Promise<void>((resolve, reject) => {
        const child = spawn(command, args, { stdio: 'ignore' });
        child.once('error', reject);
        child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${command} ended with ${code}`))));
      });
      (times[name] ??= []).push(performance.now() - started);
    }
  }
  return Object.fromEntries(Object.entries(times).map(([name, list]) => [name, middle(list, (time) => time)]));
}

async function fetchText(url: string): Promise<string> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return response.text();
}
