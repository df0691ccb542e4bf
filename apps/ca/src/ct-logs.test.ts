import { beforeEach, describe, expect, test } from 'vitest';
import { encodeBase64, encodeHex } from '#libs/encoding';
import { createLog } from '#libs/nest';
import { generateSigner, opensslCrypto, sha256 } from '#libs/openssl';
import { ctHash, ctSignature, encodeDigitallySigned, merkleTreeLeaf } from '#libs/x509';
import type { AddChainResponse, CtLog } from './ct-client.js';
import { CaError } from './errors.js';
import { CtLogs, type KnownCtLog, type Submission } from './ct-logs.js';

const submission: Submission = {
  chain: [Uint8Array.of(1), Uint8Array.of(2)],
  issuerKeyHash: new Uint8Array(32).fill(7),
  tbs: Uint8Array.of(0x30, 0),
};

/** A log that signs what it is given, until told otherwise. */
class TestLog implements CtLog {
  readonly signer = generateSigner('P-256');
  readonly logId = sha256(this.signer.publicKey.spki);
  asked = 0;
  stopped = 0;
  /** What it does instead of answering. */
  fails: (() => Promise<never>) | undefined;
  change: (answer: AddChainResponse) => AddChainResponse = (answer) => answer;

  constructor(readonly name: string) {}

  async addPreChain(_chain: readonly Uint8Array[], signal?: AbortSignal): Promise<AddChainResponse> {
    this.asked++;
    signal?.addEventListener('abort', () => this.stopped++);
    if (this.fails) await this.fails();
    return this.change(this.answer());
  }

  answer(tbs = submission.tbs): AddChainResponse {
    const { issuerKeyHash } = submission;
    const extensions = new Uint8Array();
    const signed = merkleTreeLeaf({ timestampMs: 5n, extensions, entry: { kind: 'precert', issuerKeyHash, tbs } });
    const signature = encodeDigitallySigned({
      hashAlgorithm: ctHash.sha256,
      signatureAlgorithm: ctSignature.ecdsa,
      signature: this.signer.sign(signed),
    });
    return {
      sct_version: 0,
      id: encodeBase64(this.logId),
      timestamp: 5,
      extensions: '',
      signature: encodeBase64(signature),
    };
  }

  get known(): KnownCtLog {
    return { name: this.name, log: this, key: this.signer.publicKey };
  }
}

const down = () => Promise.reject(new Error('connection refused'));
const never = () => new Promise<never>(() => undefined);

let nowMs: number;
let lines: { severity: string; message: string; ctLog?: string; restMs?: number; error?: string }[];
/** Those who wait for a log's patience to be over. */
let sleepers: { ms: number; wake: () => void }[];
beforeEach(() => {
  nowMs = Date.parse('2026-03-04T05:06:07Z');
  lines = [];
  sleepers = [];
});

function logsOf(logs: readonly TestLog[], minimum = 1): CtLogs {
  return new CtLogs({
    logs: logs.map(({ known }) => known),
    minimum,
    crypto: opensslCrypto,
    now: () => new Date(nowMs),
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        sleepers.push({ ms, wake: resolve });
        signal.addEventListener('abort', () => resolve());
      }),
    report: createLog({
      format: 'json',
      now: () => new Date(nowMs),
      write: (line) => lines.push(JSON.parse(line) as (typeof lines)[number]),
    }),
  });
}
const three = (): [TestLog, TestLog, TestLog] => [new TestLog('a'), new TestLog('b'), new TestLog('c')];
const ids = (scts: readonly { logId: Uint8Array }[]): string[] => scts.map(({ logId }) => encodeHex(logId));
/** Lets everything happen that waits for nothing from outside. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 20));

describe('CtLogs', () => {
  test('asks all logs, and gives exactly as many SCTs as are needed, each of another log', async () => {
    const all = three();
    for (const minimum of [1, 2, 3]) {
      const scts = await logsOf(all, minimum).submit(submission);
      expect(new Set(ids(scts)).size).toBe(minimum);
    }
    await settle();
    expect(all.map(({ asked }) => asked)).toEqual([3, 3, 3]);
    expect(lines).toEqual([]);
  });

  test.each<[string, (log: TestLog) => void, RegExp]>([
    ['is down', (log) => void (log.fails = down), /connection refused/],
    ['never answers', (log) => void (log.fails = never), /no answer in 5000 ms/],
    [
      'signs another certificate',
      (log) => void (log.change = () => log.answer(Uint8Array.of(0x30, 1, 0))),
      /signature/,
    ],
    ['says another time', (log) => void (log.change = (answer) => ({ ...answer, timestamp: 6 })), /signature/],
    ['answers with the SCT of another log', (log) => void (log.change = () => new TestLog('other').answer()), /log id/],
    ['answers nonsense', (log) => void (log.change = (answer) => ({ ...answer, signature: 'AAAA' })), /signature/],
    ['answers no base64', (log) => void (log.change = (answer) => ({ ...answer, signature: '***' })), /base64/],
  ])(
    "Let's Encrypt 2018-11-30: a log that %s stops nothing, and the alarm goes out at once",
    async (_name, spoil, reason) => {
      const [bad, good, other] = three();
      spoil(bad);
      const logs = logsOf([bad, good, other], 2);
      const submitted = logs.submit(submission);
      expect(ids(await submitted)).toEqual([good, other].map(({ logId }) => encodeHex(logId)));
      await settle();
      for (const { wake } of sleepers) wake();
      await settle();
      expect(lines).toMatchObject([{ severity: 'warn', message: 'CT log failed', ctLog: 'a', restMs: 10_000 }]);
      expect(lines[0]?.error).toMatch(reason);
      expect(logs.states()).toEqual([
        { name: 'a', working: false, failures: 1, scts: 0 },
        { name: 'b', working: true, failures: 0, scts: 1 },
        { name: 'c', working: true, failures: 0, scts: 1 },
      ]);
    },
  );

  test('a log that failed is left alone for a while, longer each time, and tried with one certificate', async () => {
    const [bad, good] = three();
    bad.fails = down;
    const logs = logsOf([bad, good]);
    const submit = async (): Promise<void> => {
      await Promise.all([1, 2, 3].map(() => logs.submit(submission)));
      await settle();
    };
    await submit();
    expect(bad.asked).toBe(3);
    await submit();
    nowMs += 9_999;
    await submit();
    expect(bad.asked).toBe(3);
    nowMs += 1;
    await submit();
    expect(bad.asked).toBe(4);
    nowMs += 19_999;
    await submit();
    expect(bad.asked).toBe(4);
    nowMs += 1;
    await submit();
    expect(bad.asked).toBe(5);
    // One line for each time that something became known, not one for each certificate.
    expect(lines.map(({ message, restMs }) => [message, restMs])).toEqual([
      ['CT log failed', 10_000],
      ['CT log failed', 20_000],
      ['CT log failed', 40_000],
    ]);

    bad.fails = undefined;
    nowMs += 40_000;
    await submit();
    expect(lines.at(-1)).toMatchObject({ severity: 'info', message: 'CT log works again', ctLog: 'a' });
    const asked = bad.asked;
    await submit();
    expect(bad.asked).toBe(asked + 3);
    bad.fails = down;
    await submit();
    expect(lines.at(-1)).toMatchObject({ message: 'CT log failed', restMs: 10_000 });
    expect(good.asked).toBe(30 - 3);
  });

  test('never rests longer than five minutes', async () => {
    const [bad, good] = three();
    bad.fails = down;
    const logs = logsOf([bad, good]);
    for (let n = 0; n < 12; n++) {
      await logs.submit(submission);
      await settle();
      nowMs += 300_000;
    }
    expect(bad.asked).toBe(12);
    expect(lines.at(-1)?.restMs).toBe(300_000);
  });

  test('is asked nevertheless when without it too few are left', async () => {
    const [one, two, third] = three();
    one.fails = down;
    two.fails = down;
    const logs = logsOf([one, two, third], 2);
    const error = (await logs.submit(submission).catch((failure: unknown) => failure)) as CaError;
    expect(error).toBeInstanceOf(CaError);
    expect([error.code, error.message]).toEqual(['CA_LOG', expect.stringContaining('1 SCTs of 2')]);
    expect((error.cause as Error).message).toMatch(/connection refused.* \| .*connection refused/s);
    one.fails = undefined;
    // Not a moment later, and none of them lost.
    expect(ids(await logs.submit(submission))).toEqual([one, third].map(({ logId }) => encodeHex(logId)));
  });

  test.each<[string, (log: TestLog) => void]>([
    ['fails', (log) => void (log.fails = down)],
    ['is too slow', (log) => void (log.fails = never)],
  ])('that is left alone is asked when the one that worked %s in the middle of a request', async (_name, spoil) => {
    const [first, second] = three();
    first.fails = down;
    const logs = logsOf([first, second]);
    await logs.submit(submission);
    await settle();
    expect(logs.states().map(({ working }) => working)).toEqual([false, true]);
    // The first has come back, which nobody knows yet, and now the second goes.
    first.fails = undefined;
    spoil(second);
    const submitted = logs.submit(submission);
    await settle();
    for (const { wake } of sleepers) wake();
    expect(ids(await submitted)).toEqual([encodeHex(first.logId)]);
    expect(logs.states().map(({ working }) => working)).toEqual([true, false]);
  });

  test('that is left alone is not asked while enough are left, one of which was slow', async () => {
    const logs = [...three(), new TestLog('d')] as const;
    const [resting, slow, failing, good] = logs;
    resting.fails = down;
    const all = logsOf(logs, 2);
    await all.submit(submission);
    await settle();
    expect(all.states().map(({ working }) => working)).toEqual([false, true, true, true]);
    let answer: (() => void) | undefined;
    let fail: (() => void) | undefined;
    let succeed: (() => void) | undefined;
    slow.fails = () => new Promise<never>((resolve) => (answer = resolve as () => void));
    failing.fails = () => new Promise<never>((_resolve, reject) => (fail = () => reject(new Error('gone'))));
    good.fails = () => new Promise<never>((resolve) => (succeed = resolve as () => void));
    sleepers = [];
    const submitted = all.submit(submission);
    await settle();
    // In the order of the logs that are asked.
    sleepers[0]?.wake();
    await settle();
    answer?.();
    await settle();
    fail?.();
    await settle();
    succeed?.();
    expect(ids(await submitted)).toEqual([slow, good].map(({ logId }) => encodeHex(logId)));
    expect(resting.asked).toBe(1);
  });

  test('a slow log is waited for as long as it is needed, and given up when it is not', async () => {
    const [slow, good] = three();
    let answer: (() => void) | undefined;
    slow.fails = () => new Promise<never>((resolve) => (answer = resolve as () => void));
    const both = logsOf([slow, good], 2).submit(submission);
    await settle();
    for (const { wake } of sleepers) wake();
    await settle();
    answer?.();
    expect(await both).toHaveLength(2);
    expect(slow.stopped).toBe(0);

    const logs = logsOf([slow, good]);
    await logs.submit(submission);
    expect(slow.stopped).toBe(0);
    for (const { ms, wake } of sleepers) {
      expect(ms).toBe(5000);
      wake();
    }
    await settle();
    expect(slow.stopped).toBe(1);
  });

  test('one log alone is asked every time, whatever it did before', async () => {
    const [only] = three();
    const logs = logsOf([only]);
    only.fails = down;
    for (let n = 0; n < 3; n++) await expect(logs.submit(submission)).rejects.toMatchObject({ code: 'CA_LOG' });
    only.fails = undefined;
    await logs.submit(submission);
    expect(only.asked).toBe(4);
    expect(sleepers).toEqual([]);
    expect(lines.map(({ message }) => message)).toEqual(['CT log failed', 'CT log works again']);
  });

  test('refuses numbers that cannot be, and a log twice', () => {
    const [a, b] = three();
    for (const minimum of [0, 3, 1.5]) expect(() => logsOf([a, b], minimum)).toThrow('SCTs are demanded of 2 logs');
    expect(() => logsOf([])).toThrow('1 SCTs are demanded of 0 logs');
    expect(() => logsOf([a, a])).toThrow('two of them have the same key');
  });
});
