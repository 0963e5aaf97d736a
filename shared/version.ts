/** Version of the product, as it names itself on the wire. */
export const VERSION = '1.0.0';
