import type { JsonMessage } from '#libs/bundle';
import { openDocument } from './document.js';
import { TrustError } from './error.js';
import { encodeTimeRange, isValidAt, readTimeRange, type TimeRange } from './time-range.js';

/** Which services to sign with. It says nothing about whom to trust. */
export interface SigningConfig {
  caUrls: Service[];
  oidcUrls: Service[];
  rekorTlogUrls: Service[];
  /** Absent only if no log is listed. */
  rekorTlogConfig?: ServiceSelection;
  tsaUrls: Service[];
  /** Absent only if no timestamp authority is listed. */
  tsaConfig?: ServiceSelection;
}

export interface Service {
  /** A base URL; for timestamp authorities the full URL to POST to. */
  url: string;
  /** 1 for Fulcio (whose path says v2), OIDC, TSA and Rekor v1; 2 for Rekor v2. 0 is not released and never selected. */
  majorApiVersion: number;
  validFor: TimeRange;
  operator: string;
}

/** How many services to use: one, all, or exactly `count` of different operators. */
export type ServiceSelection = { selector: 'ANY' } | { selector: 'ALL' } | { selector: 'EXACT'; count: number };

export type ServiceKind = 'ca' | 'oidc' | 'rekor' | 'tsa';

export const SIGNING_CONFIG_MEDIA_TYPE = 'application/vnd.dev.sigstore.signingconfig.v0.2+json';

const MAX_SERVICES = 1024;
/** API versions that Sigstore's clients speak. */
const SUPPORTED_VERSIONS: Readonly<Record<ServiceKind, readonly number[]>> = {
  ca: [1],
  oidc: [1],
  rekor: [1, 2],
  tsa: [1],
};

/**
 * Reads a signing config v0.2 from its JSON text or UTF-8 bytes.
 * @throws TrustError `TRUST_JSON`, `TRUST_MEDIA_TYPE`, `TRUST_MALFORMED`, `TRUST_LIMIT`
 * @see sigstore/protobuf-specs: protos/sigstore_trustroot.proto, SigningConfig
 */
export function parseSigningConfig(text: string | Uint8Array): SigningConfig {
  const config = openDocument(text, 'signing config', [SIGNING_CONFIG_MEDIA_TYPE]);
  config.only('mediaType', 'caUrls', 'oidcUrls', 'rekorTlogUrls', 'rekorTlogConfig', 'tsaUrls', 'tsaConfig');
  const rekorTlogUrls = readServices(config, 'rekorTlogUrls');
  const tsaUrls = readServices(config, 'tsaUrls');
  const rekorTlogConfig = readSelection(config, 'rekorTlogConfig', rekorTlogUrls);
  const tsaConfig = readSelection(config, 'tsaConfig', tsaUrls);
  return {
    caUrls: readServices(config, 'caUrls'),
    oidcUrls: readServices(config, 'oidcUrls'),
    rekorTlogUrls,
    ...(rekorTlogConfig === undefined ? {} : { rekorTlogConfig }),
    tsaUrls,
    ...(tsaConfig === undefined ? {} : { tsaConfig }),
  };
}

function readServices(config: JsonMessage, name: string): Service[] {
  return config.messages(name, MAX_SERVICES).map((service) => {
    service.only('url', 'majorApiVersion', 'validFor', 'operator');
    const url = service.requiredString('url');
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
      throw service.fault('malformed', 'url', 'is not an http or https URL');
    }
    return {
      url,
      majorApiVersion: service.uint32('majorApiVersion'),
      validFor: readTimeRange(service.requiredMessage('validFor')),
      operator: service.string('operator'),
    };
  });
}

function readSelection(config: JsonMessage, name: string, services: Service[]): ServiceSelection | undefined {
  const message = config.message(name)?.only('selector', 'count');
  if (message === undefined) {
    if (services.length > 0) throw config.fault('malformed', name, 'is missing');
    return undefined;
  }
  const selector = message.string('selector');
  const count = message.uint32('count');
  switch (selector) {
    case 'ANY':
    case 'ALL':
      if (count !== 0) throw message.fault('malformed', 'count', 'belongs to the selector EXACT');
      return { selector };
    case 'EXACT':
      if (count === 0) throw message.fault('malformed', 'count', 'must be above 0');
      return { selector, count };
    default:
      throw message.fault('malformed', 'selector', 'is not one of ANY, ALL, EXACT');
  }
}

/** The inverse of {@link parseSigningConfig}: indented JSON that ends in a newline. */
export function encodeSigningConfig(config: SigningConfig): string {
  const { rekorTlogConfig, tsaConfig } = config;
  const document = {
    mediaType: SIGNING_CONFIG_MEDIA_TYPE,
    caUrls: config.caUrls.map(encodeService),
    oidcUrls: config.oidcUrls.map(encodeService),
    rekorTlogUrls: config.rekorTlogUrls.map(encodeService),
    ...(rekorTlogConfig === undefined ? {} : { rekorTlogConfig }),
    tsaUrls: config.tsaUrls.map(encodeService),
    ...(tsaConfig === undefined ? {} : { tsaConfig }),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function encodeService({ url, majorApiVersion, validFor, operator }: Service): object {
  return { url, majorApiVersion, validFor: encodeTimeRange(validFor), operator };
}

/**
 * The services of one kind to use at `now`, newest first: one for `ca` and `oidc`, as many as the config asks for
 * otherwise, and none if the config lists no log or no timestamp authority at all. `versions`: the API versions the
 * caller speaks, by default those of Sigstore's clients. Where any one will do, the newest is taken.
 * @throws TrustError `TRUST_NO_SERVICE` if there are fewer than needed
 * @see sigstore/architecture-docs: client-spec.md, signing configuration
 */
export function selectServices(
  config: SigningConfig,
  kind: ServiceKind,
  { now, versions = SUPPORTED_VERSIONS[kind] }: { now: Date; versions?: readonly number[] },
): Service[] {
  const { services, selection } = listed(config, kind);
  if (services.length === 0 && (kind === 'rekor' || kind === 'tsa')) return [];

  // 1, 2. what we speak, and what is in service
  const usable = services.filter(
    ({ majorApiVersion, validFor }) =>
      majorApiVersion > 0 && versions.includes(majorApiVersion) && isValidAt(validFor, now),
  );
  // 3. one version for all: the highest
  const version = Math.max(...usable.map(({ majorApiVersion }) => majorApiVersion));
  // 4. newest first, 6. at most one of each operator
  const candidates = usable
    .filter(({ majorApiVersion }) => majorApiVersion === version)
    .sort((a, b) => b.validFor.start.getTime() - a.validFor.start.getTime())
    .filter(({ operator }, i, all) => all.findIndex((other) => other.operator === operator) === i);

  const needed = selection.selector === 'EXACT' ? selection.count : 1;
  if (candidates.length < needed) {
    throw new TrustError(
      'TRUST_NO_SERVICE',
      `Cannot select ${kind} services: ${needed} needed, ${candidates.length} of ${services.length} listed can be used now`,
    );
  }
  return selection.selector === 'ALL' ? candidates : candidates.slice(0, needed);
}

function listed(config: SigningConfig, kind: ServiceKind): { services: Service[]; selection: ServiceSelection } {
  const one: ServiceSelection = { selector: 'ANY' };
  switch (kind) {
    case 'ca':
      return { services: config.caUrls, selection: one };
    case 'oidc':
      return { services: config.oidcUrls, selection: one };
    case 'rekor':
      return { services: config.rekorTlogUrls, selection: config.rekorTlogConfig ?? one };
    case 'tsa':
      return { services: config.tsaUrls, selection: config.tsaConfig ?? one };
  }
}
