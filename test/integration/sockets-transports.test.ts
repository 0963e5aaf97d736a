import { AddressSchemes, type AddressScheme, bindAddress, parseAddress, TCP } from '@cmbs/shared/broker';
import { CmbsError } from '@cmbs/shared';
import fc from '../property';

function refusal(text: string): CmbsError {
  try {
    parseAddress(text);
  } catch (error) {
    if (error instanceof CmbsError) return error;
    throw error;
  }
  throw new Error(`${text} was read`);
}

describe('an address', () => {
  test.each([
    ['tcp://127.0.0.1:5010', 'tcp://127.0.0.1:5010'],
    ['tcp://127.0.0.1:05010', 'tcp://127.0.0.1:5010'],
    ['TCP://Companion.Example:65535', 'tcp://companion.example:65535'],
    ['tcp://localhost:1', 'tcp://localhost:1'],
    ['tcp://[::1]:5010', 'tcp://[::1]:5010'],
    ['tcp://my_host-1.svc:5010', 'tcp://my_host-1.svc:5010'],
    ['IPC://Alice-l1.sock_2', 'ipc://Alice-l1.sock_2'],
  ])('%s is parsed as %s', (text, canonical) => {
    expect(parseAddress(text).text).toBe(canonical);
  });

  test.each([
    ['', 'must start with one of tcp://, ipc://'],
    ['127.0.0.1:5010', 'must start with one of'],
    ['inproc://zeromq.zap.01', 'must start with one of'],
    ['tcp://', 'must be tcp://host:port'],
    ['tcp://127.0.0.1', 'must be tcp://host:port'],
    ['tcp://127.0.0.1:', 'from 1 to 65535'],
    ['tcp://127.0.0.1:0', 'from 1 to 65535'],
    ['tcp://127.0.0.1:65536', 'from 1 to 65535'],
    ['tcp://127.0.0.1:70000', 'from 1 to 65535'],
    ['tcp://127.0.0.1:-1', 'from 1 to 65535'],
    ['tcp://127.0.0.1:5e3', 'from 1 to 65535'],
    ['tcp://127.0.0.1:*', 'from 1 to 65535'],
    ['tcp://127.0.0.1:5010/path', 'from 1 to 65535'],
    ['tcp://:5010', 'must be an IPv4 address'],
    ['tcp://300.1.1.1:5010', 'must be an IPv4 address'],
    ['tcp://127.1:5010', 'must be an IPv4 address'],
    ['tcp://-a.example:5010', 'must be an IPv4 address'],
    ['tcp://a..b:5010', 'must be an IPv4 address'],
    ['tcp://lo;10.0.0.1:5010', 'must be an IPv4 address'],
    ['tcp://user@host:5010', 'must be an IPv4 address'],
    [`tcp://${'a.'.repeat(127)}example:5010`, 'must be an IPv4 address'],
    ['tcp://[::1:5010', 'must be tcp://host:port'],
    ['tcp://[nonsense]:5010', 'must be an IPv4 address'],
    ['tcp://::1:5010', 'must be tcp://host:port'],
    ['tcp://*:5010', 'stands for every interface'],
    ['tcp://0.0.0.0:5010', 'stands for every interface'],
    ['tcp://[::]:5010', 'stands for every interface'],
    ['tcp://127.0.0.1 :5010', 'a space or a control character'],
    ['tcp://127.0.0.1:5010\n', 'a space or a control character'],
    ['ipc:///run/\u0000x', 'a space or a control character'],
    ['ipc://', 'ipc:// and a name'],
    ['ipc:///run/cmbs/l1.sock', 'sockets are below CMBS_IPC_DIR only'],
    ['ipc://../x', 'ipc:// and a name'],
    ['ipc://a/b', 'ipc:// and a name'],
    ['ipc://..', 'ipc:// and a name'],
    ['ipc://.hidden', 'ipc:// and a name'],
    ['ipc://@abstract', 'ipc:// and a name'],
    ['ipc://a\\b', 'ipc:// and a name'],
    ['ipc://ä', 'ipc:// and a name'],
    [`ipc://${'x'.repeat(41)}`, 'a name of 40 letters'],
    ['tcp://[fe80::1%eth0]:5010', 'must be an IPv4 address'],
  ])('%j is refused with a message that contains: %s', (text, sentence) => {
    expect(refusal(text).code).toBe('bad_attribute');
    expect(refusal(text).message).toContain(sentence);
  });

  it('may name every interface and any port for a bind', () => {
    expect(parseAddress('tcp://*:*', { bind: true, anyPort: true })).toEqual({
      scheme: 'tcp',
      text: 'tcp://*:*',
      host: '*',
      port: 0,
    });
  });

  it('is bound at the host that the configuration names', () => {
    const advertised = parseAddress('tcp://broker.example:5010');
    expect(bindAddress(advertised).text).toBe('tcp://broker.example:5010');
    expect(bindAddress(advertised, '').text).toBe('tcp://broker.example:5010');
    expect(bindAddress(advertised, '0.0.0.0').text).toBe('tcp://0.0.0.0:5010');
    expect(bindAddress(advertised, '::').text).toBe('tcp://[::]:5010');
    expect(bindAddress(parseAddress('ipc://a.sock'), '0.0.0.0').text).toBe('ipc://a.sock');
    expect(() => bindAddress(advertised, 'not a host')).toThrow(CmbsError);
  });

  it('is parsed by the scheme that a program adds, and only in that program', () => {
    const coap: AddressScheme = {
      name: 'coap',
      parse: (rest) => ({ scheme: 'coap', text: `coap://${rest}` }),
    };
    expect(new AddressSchemes([TCP, coap]).parse('COAP://device').text).toBe('coap://device');
    expect(() => parseAddress('coap://device')).toThrow('must start with one of tcp://, ipc://');
    expect(() => new AddressSchemes([TCP, TCP])).toThrow('two schemes tcp');
  });

  it('is either parsed to a stable canonical text or refused as bad_attribute', () => {
    const text = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.tuple(fc.constantFrom('tcp', 'ipc'), fc.string(), fc.integer()).map(([s, h, p]) => `${s}://${h}:${p}`),
      fc.tuple(fc.domain(), fc.nat(70000)).map(([host, port]) => `tcp://${host}:${port}`),
    );
    fc.assert(
      fc.property(text, (candidate) => {
        try {
          const { text: canonical } = parseAddress(candidate);
          expect(parseAddress(canonical).text).toBe(canonical);
        } catch (error) {
          expect(error).toMatchObject({ code: 'bad_attribute' });
        }
      }),
      { numRuns: 500 },
    );
  });
});
