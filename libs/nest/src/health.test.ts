import { expect, it } from 'vitest';
import { bootHttp, createLog, HealthController } from './index.js';

it('GET /readyz follows the check, and says nothing of why; GET /healthz does not', async () => {
  const logged: string[] = [];
  const log = createLog({ format: 'json', now: () => new Date(), write: (line) => void logged.push(line) });
  let ready: () => boolean | Promise<boolean> = () => true;
  const server = await bootHttp(
    { module: class Server {}, controllers: [HealthController] },
    { host: '127.0.0.1', port: 0, shapes: [], bodyLimit: 100, log, ready: () => ready() },
  );
  const url = await server.getUrl();
  const ask = async (path: string) => {
    const response = await fetch(url + path);
    return [response.status, response.headers.get('retry-after'), await response.text()];
  };
  const serving = [200, null, '{"status":"SERVING"}'];
  const notServing = [503, '5', '{"status":"NOT_SERVING"}'];
  try {
    expect(await ask('/readyz')).toEqual(serving);
    ready = async () => false;
    expect(await ask('/readyz')).toEqual(notServing);
    expect(logged).toEqual([]);
    ready = () => Promise.reject(new Error('the disk is full'));
    expect(await ask('/readyz')).toEqual(notServing);
    expect(logged.join()).toContain('the disk is full');
    expect(await ask('/healthz')).toEqual(serving);
  } finally {
    await server.close();
  }
});
