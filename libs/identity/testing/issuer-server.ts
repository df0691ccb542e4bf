import { generateKeyPairSync, type KeyObject, sign, webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer, type ServerOptions } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import 'reflect-metadata';
import * as peculiar from '@peculiar/x509';

/** An issuer's key, and what it signs. */
export interface TestKey {
  readonly kid: string;
  readonly jwk: object;
  readonly privateKey: KeyObject;
}

export function makeKey(kid: string): TestKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { kid, privateKey, jwk: { ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'ES256' } };
}

export function makeToken({ kid, privateKey }: TestKey, claims: object): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const data = `${part({ alg: 'ES256', kid })}.${part(claims)}`;
  const signature = sign('sha256', Buffer.from(data), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return `${data}.${signature.toString('base64url')}`;
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** A server on every loopback address that notes what it was asked, and who connected. */
export interface IssuerServer {
  readonly url: string;
  readonly port: number;
  readonly asked: { readonly path: string; readonly authorization: string | undefined; readonly address: string }[];
  readonly connections: () => number;
  readonly routes: Map<string, Answer>;
  /** Discovery document and keys, the latter at `jwksUri`. */
  publish(keys: readonly TestKey[], jwksUri?: string): void;
  close(): Promise<void>;
}

export const answerJson =
  (value: unknown): Answer =>
  (_request, response) =>
    void response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
export const answerRedirect =
  (location: string): Answer =>
  (_request, response) =>
    void response.writeHead(302, { location }).end();

/** With `tls` over https. `host`: as clients name it. */
export async function startIssuer(options: { host?: string; tls?: ServerOptions } = {}): Promise<IssuerServer> {
  const routes = new Map<string, Answer>();
  const asked: IssuerServer['asked'] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const onRequest: Answer = (request, response) => {
    const path = request.url ?? '';
    asked.push({
      path,
      authorization: request.headers.authorization,
      address: (request.socket.localAddress ?? '').replace('::ffff:', ''),
    });
    const route = routes.get(path);
    if (route === undefined) response.writeHead(404).end('{}');
    else route(request, response);
  };
  const server = options.tls === undefined ? createServer(onRequest) : createSecureServer(options.tls, onRequest);
  server.on('connection', (socket: Socket) => {
    connections++;
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '0.0.0.0');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const url = `${options.tls === undefined ? 'http' : 'https'}://${options.host ?? 'localhost'}:${port}`;
  return {
    ...{ url, port, asked, routes, connections: () => connections },
    publish: (keys, jwksUri = `${url}/jwks`) => {
      routes.set(
        '/.well-known/openid-configuration',
        answerJson({ issuer: url, jwks_uri: jwksUri, id_token_signing_alg_values_supported: ['ES256'] }),
      );
      routes.set('/jwks', answerJson({ keys: keys.map(({ jwk }) => jwk) }));
    },
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** A root of its own and a certificate under it for these names; PEM. */
export async function makeTls(...names: string[]): Promise<{ root: string; key: string; cert: string }> {
  peculiar.cryptoProvider.set(webcrypto as unknown as Parameters<typeof peculiar.cryptoProvider.set>[0]);
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const newKeys = () => webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const [rootKeys, keys] = [await newKeys(), await newKeys()];
  const day = 24 * 3600_000;
  const common = {
    notBefore: new Date(Date.now() - day),
    notAfter: new Date(Date.now() + day),
    signingAlgorithm: algorithm,
    issuer: `CN=root of ${names.join(' and ')}`,
    signingKey: rootKeys.privateKey,
  };
  const root = await peculiar.X509CertificateGenerator.create({
    ...common,
    serialNumber: '01',
    subject: common.issuer,
    publicKey: rootKeys.publicKey,
    extensions: [new peculiar.BasicConstraintsExtension(true, undefined, true)],
  });
  const leaf = await peculiar.X509CertificateGenerator.create({
    ...common,
    serialNumber: '02',
    subject: 'CN=issuer',
    publicKey: keys.publicKey,
    extensions: [new peculiar.SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns', value })))],
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  return {
    root: root.toString('pem'),
    cert: leaf.toString('pem'),
    key: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`,
  };
}
