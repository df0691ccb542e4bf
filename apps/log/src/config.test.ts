import { describe, expect, it } from 'vitest';
import { ConfigError } from '#libs/nest';
import { readLogConfig } from './config.js';

const required = {
  CHANCERY_LOG_DATA: '/data',
  CHANCERY_LOG_KEY_FILE: '/keys/log.pem',
  CHANCERY_LOG_ORIGIN: 'log.example',
};
const v1 = {
  CHANCERY_LOG_V1_KEY_FILE: '/keys/log-v1.pem',
  CHANCERY_LOG_V1_HOSTNAME: 'log.example',
  CHANCERY_LOG_V1_TREE_ID: '9223372036854775807',
};

describe('readLogConfig()', () => {
  it('has no second tree unless it is told of a key', () => {
    expect(readLogConfig(required).CHANCERY_LOG_V1_KEY_FILE).toBeUndefined();
    const config = readLogConfig({ ...required, ...v1 });
    expect(config.CHANCERY_LOG_V1_TREE_ID).toBe((1n << 63n) - 1n);
    expect(config.CHANCERY_LOG_V1_ATTESTATIONS).toBe(false);
    expect(config.CHANCERY_LOG_V1_MAX_ATTESTATION_SIZE).toBe(102_400);
  });

  it.each<[name: string, settings: Record<string, string | undefined>, problem: RegExp]>([
    ['no host name', { CHANCERY_LOG_V1_HOSTNAME: undefined }, /CHANCERY_LOG_V1_HOSTNAME: is needed/],
    ['no tree ID', { CHANCERY_LOG_V1_TREE_ID: undefined }, /CHANCERY_LOG_V1_TREE_ID: is needed/],
    ['tree ID 0', { CHANCERY_LOG_V1_TREE_ID: '0' }, /CHANCERY_LOG_V1_TREE_ID/],
    ['a tree ID of 64 bits', { CHANCERY_LOG_V1_TREE_ID: '9223372036854775808' }, /CHANCERY_LOG_V1_TREE_ID.*2\^63/],
    ['a tree ID in hex', { CHANCERY_LOG_V1_TREE_ID: '0x10' }, /CHANCERY_LOG_V1_TREE_ID/],
    ['a host name with a space', { CHANCERY_LOG_V1_HOSTNAME: 'a b' }, /CHANCERY_LOG_V1_HOSTNAME/],
    ['an unknown setting', { CHANCERY_LOG_V1_KEY: 'x' }, /CHANCERY_LOG_V1_KEY is not a setting/],
  ])('refuses %s', (_name, settings, problem) => {
    const read = () => readLogConfig({ ...required, ...v1, ...settings });
    expect(read).toThrow(ConfigError);
    expect(read).toThrow(problem);
  });
});
