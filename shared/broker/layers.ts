/** The five layers by name (layers.md, Vocabulary). */
export const LAYERS = ['l1', 'l2', 'l31', 'l32', 'l4'] as const;
export type Layer = (typeof LAYERS)[number];

const SPELLINGS: Readonly<Record<string, Layer>> = {
  ...(Object.fromEntries(LAYERS.map((layer) => [layer, layer])) as Record<Layer, Layer>),
  'l3.1': 'l31',
  'l3.2': 'l32',
};

/** The layer that a client names in either spelling. */
export function parseLayer(text: string): Layer | undefined {
  const lower = text.toLowerCase();
  return Object.hasOwn(SPELLINGS, lower) ? SPELLINGS[lower] : undefined;
}
