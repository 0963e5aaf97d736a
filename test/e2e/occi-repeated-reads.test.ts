/** An entity that is read again shows every change, even if parts of the earlier answer are cached. */
import { localTest } from './engine';
import { category, CMBS, INFRA, NESTED, PLAIN, Product } from './occi-support';

let product: Product;
beforeAll(async () => {
  product = await Product.start();
});
afterAll(() => product.close());

const NIC = `${INFRA}networkinterface`;

describe('An entity that is read again', () => {
  it('is the same, byte for byte, while nothing changes', async () => {
    const path = await product.compute('X-OCCI-Attribute: occi.core.title="one"');
    const [first, second] = [await product.get(path, NESTED), await product.get(path, NESTED)];
    expect(second.body).toBe(first.body);
    expect(second.header('etag')).toBe(first.header('etag'));
  });

  it('has the requested type', async () => {
    const path = await product.compute();
    expect((await product.get(path, PLAIN)).type).toBe(PLAIN);
    expect((await product.get(path, NESTED)).type).toBe(NESTED);
    expect((await product.get(path, PLAIN)).type).toBe(PLAIN);
  });

  // In the cloud the public URL is configured, since clients do not use a function's own host.
  localTest('has URLs with the host of the request', async () => {
    const path = await product.compute();
    const network = await product.network();
    await product.create(NIC, [`X-OCCI-Attribute: occi.core.source="${path}", occi.core.target="${network}"`]);
    for (const host of ['localhost:1', 'localhost:2', 'localhost:1']) {
      expect((await product.get(path, NESTED, { Host: host })).body).toContain(`http://${host}${network}`);
    }
  });

  it('shows a change of its attributes', async () => {
    const path = await product.compute('X-OCCI-Attribute: occi.core.title="one"');
    expect((await product.get(path)).attributes()['occi.core.title']).toBe('"one"');
    await product.plain('POST', path, ['X-OCCI-Attribute: occi.core.title="two"']);
    expect((await product.get(path)).attributes()['occi.core.title']).toBe('"two"');
  });

  it('shows a link that was added, changed and deleted', async () => {
    const [path, network] = [await product.compute(), await product.network()];
    const links = async (): Promise<readonly string[]> =>
      (await product.get(path, PLAIN)).lines('Link').filter((line) => !line.includes('?action='));
    expect(await links()).toEqual([]);
    const link = await product.create(NIC, [
      `X-OCCI-Attribute: occi.core.source="${path}", occi.core.target="${network}"`,
    ]);
    expect(await links()).toHaveLength(1);
    await product.plain('POST', link, ['X-OCCI-Attribute: occi.core.title="renamed"']);
    expect((await links())[0]).toContain('renamed');
    await product.send('DELETE', link);
    expect(await links()).toEqual([]);
  });

  it('shows the actions of its state', async () => {
    const path = await product.compute();
    const actions = async (): Promise<string> => (await product.get(path, NESTED)).body;
    expect(await actions()).toContain('?action=start');
    await product.plain('POST', `${path}?action=start`, []);
    expect(await actions()).toContain('?action=stop');
  });

  it('shows a category that was changed meanwhile', async () => {
    const mixin = await product.defineMixin('colour', '; attributes="colour.name"');
    const path = await product.compute(
      `Category: ${category(mixin, 'mixin')}`,
      'X-OCCI-Attribute: colour.name="red"',
    );
    expect((await product.get(path)).attributes()['colour.name']).toBe('"red"');
    await product.plain('DELETE', '/-/', [`Category: ${category(mixin, 'mixin')}`]);
    expect((await product.get(path)).attributes()['colour.name']).toBeUndefined();
  });

  it('is the new entity if its path was used again', async () => {
    const path = '/cmbs/message/again';
    const put = (title: string): Promise<unknown> =>
      product.plain('PUT', path, [
        `Category: ${category(`${CMBS}message`, 'kind')}`,
        `X-OCCI-Attribute: occi.core.title="${title}"`,
      ]);
    await put('first');
    expect((await product.get(path)).attributes()['occi.core.title']).toBe('"first"');
    await product.send('DELETE', path);
    await put('second');
    expect((await product.get(path)).attributes()['occi.core.title']).toBe('"second"');
  });
});
