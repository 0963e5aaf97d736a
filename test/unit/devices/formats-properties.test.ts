/** Each format reads what it has written, has no error but its own, and takes linear time. */
import {
  binaryFormat,
  DeviceFormatError,
  type DeviceFormat,
  DeviceObjects,
  type Draft,
  jsonFormat,
  linkFormat,
  senmlCbor,
  senmlJson,
  xmlFormat,
} from '@cmbs/shared/devices';
import { UNEXPECTED } from '../../../shared/devices/formats/format';
import fc from '../../property';
import { LINEAR_MS, processorMs } from '../processor-time';
import { BINARY, BINARY_UTF8, JSONML, links, packs, tree, XML } from './trees';

const objects = new DeviceObjects();

const FORMATS: readonly (readonly [name: string, format: DeviceFormat, drafts: fc.Arbitrary<Draft>])[] = [
  ['XML', xmlFormat(objects), tree(XML)],
  ['JSON', jsonFormat(objects), tree(JSONML)],
  ['binary', binaryFormat(objects), tree(BINARY)],
  ['binary with UTF-8', binaryFormat(objects, { utf8: true }), tree(BINARY_UTF8)],
  ['link-format', linkFormat(objects), links],
  ['SenML in JSON', senmlJson(objects), packs(1000n)],
  ['SenML in CBOR', senmlCbor(objects), packs(1n)],
];

/** Parses, and returns the error of the format; any other error fails the test. */
function refusal(format: DeviceFormat, bytes: Uint8Array): DeviceFormatError | undefined {
  try {
    format.parse(bytes);
    return undefined;
  } catch (thrown) {
    if (thrown instanceof DeviceFormatError && thrown.message !== UNEXPECTED) return thrown;
    throw thrown;
  }
}

describe.each(FORMATS)('%s', (_name, format, drafts) => {
  const rendered = drafts.map((draft) => Buffer.from(format.render!(objects.make(draft))));

  it('reads what it has written', () => {
    fc.assert(
      fc.property(drafts, (draft) => {
        const object = objects.make(draft);
        const bytes = format.render!(object);
        const read = format.parse(bytes);
        expect(read).toEqual(object);
        expect(Buffer.from(format.render!(read))).toEqual(Buffer.from(bytes));
      }),
      { numRuns: 200 },
    );
  });

  it('writes any object so that it can be read, or refuses it', () => {
    fc.assert(
      fc.property(tree(JSONML), (draft) => {
        const object = objects.make(draft);
        let bytes: Uint8Array;
        try {
          bytes = format.render!(object);
        } catch (thrown) {
          if (thrown instanceof DeviceFormatError && thrown.message !== UNEXPECTED) return;
          throw thrown;
        }
        format.parse(bytes);
      }),
      { numRuns: 300 },
    );
  });

  it('has no other error than its own for random bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        refusal(format, bytes);
      }),
      { numRuns: 1000 },
    );
  });

  it('refuses a document that ends too early, at whichever byte', () => {
    fc.assert(
      fc.property(
        rendered.filter((bytes) => bytes.length < 1000),
        (bytes) => {
          // XML ends with a line feed, which may be missing.
          const whole = format.name === 'obix-xml' ? bytes.length - 1 : bytes.length;
          for (let end = 0; end < whole; end++) {
            const refused = refusal(format, bytes.subarray(0, end));
            // Links may end after any attribute.
            if (format.name !== 'link-format') expect(refused).toBeDefined();
          }
        },
      ),
      { numRuns: 10 },
    );
  });

  it('has no other error than its own for a document with other bytes', () => {
    const change = fc.record({ at: fc.nat(), byte: fc.nat(255), insert: fc.boolean() });
    fc.assert(
      fc.property(rendered, fc.array(change, { minLength: 1, maxLength: 4 }), (bytes, changes) => {
        let changed: readonly number[] = [...bytes];
        for (const { at, byte, insert } of changes) {
          changed = changed.toSpliced(at % (changed.length + 1), insert ? 0 : 1, byte);
        }
        refusal(format, Uint8Array.from(changed));
      }),
      { numRuns: 1000 },
    );
  });

  it('reads any megabyte of one pattern in linear time', () => {
    const patterns = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 6 }).map((bytes) => Buffer.from(bytes)),
      rendered.filter((bytes) => bytes.length > 0),
    );
    fc.assert(
      fc.property(patterns, (pattern) => {
        const bytes = Buffer.alloc(1024 * 1024, pattern);
        expect(processorMs(() => refusal(format, bytes))).toBeLessThan(LINEAR_MS);
      }),
      { numRuns: 20 },
    );
  });
});
