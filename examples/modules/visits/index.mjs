/** Counts visits, in a key-value database. */
export const methods = {
  visit: {
    documentation: 'Counts a visit to a place. Returns the visits of all callers, and those of the caller.',
    signatures: ['struct,string'],
    call: async ({ kv }, [place]) => ({
      all: await kv.increment('visits', place),
      yours: await kv.increment('visits', place, 1, { mine: true }),
    }),
  },
  merge: {
    documentation: 'Adds the visits to one place to those to another, and forgets the first place.',
    signatures: ['int,string,string'],
    call: ({ kv, Fault }, [from, to]) =>
      kv.transact('visits', async (tx) => {
        const [left, right] = await Promise.all([tx.get(from), tx.get(to)]);
        if (left === null) throw new Fault(404, 'Nobody has visited this place.');
        const sum = left.value + (right?.value ?? 0);
        tx.delete(from);
        tx.put(to, sum);
        return sum;
      }),
  },
};
