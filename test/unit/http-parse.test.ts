import { baseOf, clientAddressOf } from '@cmbs/functions/http-parse';

describe('the address of a client', () => {
  const SOCKET = '10.0.0.9';
  it.each<[string, number, readonly string[] | undefined, string]>([
    ["is the connection's if no proxy is trusted", 0, ['203.0.113.1'], SOCKET],
    ['is the address that the only proxy saw', 1, ['203.0.113.1'], '203.0.113.1'],
    ['is not an address that the client claims before the proxy', 1, ['198.51.100.7, 203.0.113.1'], '203.0.113.1'],
    ['is the address that the outer of two proxies saw', 2, ['203.0.113.1, 35.191.0.1'], '203.0.113.1'],
    [
      'is not an address that the client claims before two proxies',
      2,
      ['198.51.100.7, 203.0.113.1, 35.191.0.1'],
      '203.0.113.1',
    ],
    ['is the same in several header fields', 2, ['198.51.100.7', '203.0.113.1,35.191.0.1'], '203.0.113.1'],
    ["is the connection's if a proxy is missing", 2, ['203.0.113.1'], SOCKET],
    ["is the connection's if the field is empty", 1, [''], SOCKET],
    ["is the connection's if there is no field", 1, undefined, SOCKET],
  ])('%s', (_, proxies, forwarded, address) => {
    const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded };
    expect(clientAddressOf(headers, SOCKET, proxies)).toBe(address);
  });
});

describe('the base of the URLs in an answer', () => {
  const base = (headers: Record<string, readonly string[]>, trustedProxies = 0): string =>
    baseOf(headers, { publicUrl: undefined, trustedProxies, scheme: 'https', fallback: '127.0.0.1:1' });

  it('has the scheme of the connection, unless a trusted proxy says another', () => {
    const headers = { host: ['broker.example'], 'x-forwarded-proto': ['http'] };
    expect(base(headers)).toBe('https://broker.example');
    expect(base(headers, 1)).toBe('http://broker.example');
    expect(base({}, 1)).toBe('https://127.0.0.1:1');
  });
});
