import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { SimpleSigningError } from './error.js';
import { encodePodmanPolicy, findRequirements, parsePodmanPolicy } from './policy.js';
import { parseImageIdentity } from './reference.js';

const read = (value: unknown) =>
  parsePodmanPolicy(encodeUtf8(typeof value === 'string' ? value : JSON.stringify(value)));
const one = (requirement: unknown) => ({ default: [requirement] });
const anything = { type: 'insecureAcceptAnything' };
const reject = { type: 'reject' };
const signedBy = { type: 'signedBy', keyType: 'GPGKeys', keyPath: '/k.gpg' };
const fulcio = { caPath: '/ca.pem', oidcIssuer: 'https://accounts.example', subjectEmail: 'a@example.com' };
const sigstore = { type: 'sigstoreSigned', keyPath: '/k.pub' };
const pki = { caRootsPath: '/r.pem', subjectEmail: 'a@example.com' };

describe('parsePodmanPolicy()', () => {
  const good: [string, object][] = [
    ['insecureAcceptAnything', anything],
    ['reject', reject],
    ['signedBy with a path', signedBy],
    ['signedBy with paths', { type: 'signedBy', keyType: 'GPGKeys', keyPaths: ['/a', '/b'] }],
    ['signedBy with data', { type: 'signedBy', keyType: 'GPGKeys', keyData: 'AAEC' }],
    ['signedBy of a type that nobody has', { ...signedBy, keyType: 'X509Certificates' }],
    ['signedBy with an identity', { ...signedBy, signedIdentity: { type: 'matchRepository' } }],
    ['signedBaseLayer', { type: 'signedBaseLayer', baseLayerIdentity: { type: 'matchExact' } }],
    ['sigstoreSigned with a path', sigstore],
    ['sigstoreSigned with paths', { type: 'sigstoreSigned', keyPaths: ['/a', '/b'] }],
    ['sigstoreSigned with data', { type: 'sigstoreSigned', keyData: 'AAEC' }],
    ['sigstoreSigned with datas', { type: 'sigstoreSigned', keyDatas: ['AAEC', 'AwQF'] }],
    ['sigstoreSigned with a key and a log', { ...sigstore, rekorPublicKeyPath: '/rekor.pub' }],
    ['fulcio', { type: 'sigstoreSigned', fulcio, rekorPublicKeyData: 'AAEC' }],
    [
      'fulcio with data and logs',
      {
        type: 'sigstoreSigned',
        fulcio: { ...fulcio, caPath: undefined, caData: 'AAEC' },
        rekorPublicKeyDatas: ['AAEC', 'AwQF'],
      },
    ],
    ['fulcio with logs in files', { type: 'sigstoreSigned', fulcio, rekorPublicKeyPaths: ['/a', '/b'] }],
    ['pki', { type: 'sigstoreSigned', pki }],
    [
      'pki with everything',
      {
        type: 'sigstoreSigned',
        pki: { caRootsData: 'AAEC', caIntermediatesPath: '/i', subjectEmail: 'a', subjectHostname: 'h' },
      },
    ],
  ];
  it.each(good)('reads %s, and writes it so that it is read the same', (_, requirement) => {
    const policy = read({
      default: [reject],
      transports: { docker: { 'registry.example.com': [requirement, anything] } },
    });
    expect(policy.transports.get('docker')?.get('registry.example.com')).toHaveLength(2);
    expect(parsePodmanPolicy(encodePodmanPolicy(policy))).toEqual(policy);
  });

  it.each<[string, unknown]>([
    ['nothing', ''],
    ['no object', '[]'],
    ['comments', '{"default":[{"type":"reject"}] /* all */}'],
    ['no default', { transports: {} }],
    ['an empty default', { default: [] }],
    ['a default that is no list', { default: reject }],
    ['an unknown member', { default: [reject], defualt: [anything] }],
    ['a duplicate default', '{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}'],
    ['transports null', { default: [reject], transports: null }],
    [
      'a scope twice',
      '{"default":[{"type":"reject"}],"transports":{"docker":{"a":[{"type":"reject"}],"a":[{"type":"reject"}]}}}',
    ],
    ['an empty scope', { default: [reject], transports: { docker: { 'a.example': [] } } }],
    ['a requirement without type', one({})],
    ['an unknown type', one({ type: 'signedByAnyone' })],
    ['a type in other capitals', one({ type: 'Reject' })],
    ['an unknown field of reject', one({ ...reject, keyPath: '/k' })],
    ['a field twice', '{"default":[{"type":"reject","type":"insecureAcceptAnything"}]}'],
    ['signedBy without keyType', one({ type: 'signedBy', keyPath: '/k' })],
    ['signedBy with an unknown keyType', one({ ...signedBy, keyType: 'gpgKeys' })],
    ['signedBy without keys', one({ type: 'signedBy', keyType: 'GPGKeys' })],
    ['signedBy with keys twice', one({ ...signedBy, keyData: 'AAEC' })],
    ['signedBy with an empty path', one({ ...signedBy, keyPath: '' })],
    ['signedBy with no paths', one({ type: 'signedBy', keyType: 'GPGKeys', keyPaths: [] })],
    ['signedBy with data that is no base64', one({ type: 'signedBy', keyType: 'GPGKeys', keyData: '*' })],
    ['signedBy with an unknown field', one({ ...signedBy, signedIdentiy: { type: 'matchExact' } })],
    ['signedBy with an unknown identity', one({ ...signedBy, signedIdentity: { type: 'any' } })],
    ['signedBaseLayer without identity', one({ type: 'signedBaseLayer' })],
    ['sigstoreSigned without anybody', one({ type: 'sigstoreSigned' })],
    ['sigstoreSigned with key and fulcio', one({ ...sigstore, fulcio, rekorPublicKeyPath: '/r' })],
    ['sigstoreSigned with pki and fulcio', one({ type: 'sigstoreSigned', pki, fulcio, rekorPublicKeyPath: '/r' })],
    ['fulcio without a log', one({ type: 'sigstoreSigned', fulcio })],
    [
      'fulcio with logs twice',
      one({ type: 'sigstoreSigned', fulcio, rekorPublicKeyPath: '/r', rekorPublicKeyData: 'AAEC' }),
    ],
    [
      'fulcio without CA',
      one({ type: 'sigstoreSigned', fulcio: { ...fulcio, caPath: undefined }, rekorPublicKeyPath: '/r' }),
    ],
    [
      'fulcio with CA twice',
      one({ type: 'sigstoreSigned', fulcio: { ...fulcio, caData: 'AAEC' }, rekorPublicKeyPath: '/r' }),
    ],
    [
      'fulcio without issuer',
      one({ type: 'sigstoreSigned', fulcio: { ...fulcio, oidcIssuer: undefined }, rekorPublicKeyPath: '/r' }),
    ],
    [
      'fulcio with an empty address',
      one({ type: 'sigstoreSigned', fulcio: { ...fulcio, subjectEmail: '' }, rekorPublicKeyPath: '/r' }),
    ],
    [
      'fulcio with an unknown field',
      one({ type: 'sigstoreSigned', fulcio: { ...fulcio, subjectUri: 'x' }, rekorPublicKeyPath: '/r' }),
    ],
    ['pki without subject', one({ type: 'sigstoreSigned', pki: { caRootsPath: '/r' } })],
    ['pki without roots', one({ type: 'sigstoreSigned', pki: { subjectEmail: 'a' } })],
  ])('refuses %s', (_, value) => {
    expect(() => read(value)).toThrow(expect.objectContaining({ code: 'SIMPLE_POLICY' }) as Error);
  });

  it('takes any JSON or refuses it by its own error', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(() => read(text)).toThrow(SimpleSigningError);
      }),
    );
    expect(() => read(' '.repeat(5_000_000))).toThrow(expect.objectContaining({ code: 'SIMPLE_TOO_LARGE' }) as Error);
  });
});

describe('findRequirements()', () => {
  const scopes = [
    'registry.example.com/ns/app:v1',
    'registry.example.com/ns/app',
    'registry.example.com/ns',
    'registry.example.com',
    '*.example.com',
    '*.com',
    '',
  ];
  const of = (list: readonly string[], image: string) =>
    findRequirements(
      read({
        default: [reject],
        transports: { docker: Object.fromEntries(list.map((scope) => [scope, [anything]])), dir: { '': [anything] } },
      }),
      parseImageIdentity(image),
    ).scope;

  it('takes the most specific scope, and the default last', () => {
    for (let i = 0; i < scopes.length; i++) {
      expect(of(scopes.slice(i), 'registry.example.com/ns/app:v1')).toBe(`docker ${JSON.stringify(scopes[i])}`);
    }
    expect(of([], 'registry.example.com/ns/app:v1')).toBe('default');
  });

  it.each([
    ['registry.example.com/n', 'registry.example.com/ns/app:v1'],
    ['registry.example.com', 'registry.example.com:5000/ns/app:v1'],
    ['*.example.com', 'example.com/app:v1'],
    ['example.com', 'registry.example.com/app:v1'],
    ['registry.example.com/ns/app:v1', 'registry.example.com/ns/app:v2'],
    ['busybox', 'busybox'],
    ['library/busybox', 'busybox'],
  ])('does not take %j for %s', (scope, image) => {
    expect(of([scope], image)).toBe('default');
  });

  it('knows images by digest and with ports', () => {
    const digest = `sha256:${'a'.repeat(64)}`;
    expect(of([`docker.io/library/busybox@${digest}`], `busybox@${digest}`)).toContain('@sha256');
    expect(of(['*.example.com'], 'registry.example.com:5000/app')).toBe('docker "*.example.com"');
  });
});
