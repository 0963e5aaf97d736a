/** The renderings that a deployment offers, and the choice among them. */
import { json } from './json';
import { chooseOffer } from './media-type';
import { occiJson, PROFILES } from './occi-json';
import type { Rendering, TextRendering } from './rendering';
import { textOcci } from './text-occi';
import { textPlain } from './text-plain';
import { uriList } from './uri-list';

/** The answer to a client without a preference (#7). */
export const TEXT_PLAIN: TextRendering = textPlain;

/** The renderings of the program, in the order of the server's preference. */
export const STANDARD_RENDERINGS: readonly TextRendering[] = [textPlain, occiJson, json, textOcci, uriList];

export class Renderings {
  /** All media types that requests may have, as the `Accept` header of an answer lists them (RFC 9110 §12.5.1). */
  readonly accepted: string;
  /** Reads requests that have OCCI headers and no body (#69). */
  readonly ofHeaders: Rendering | undefined;
  readonly #offered: readonly Rendering[];
  readonly #byName: ReadonlyMap<string, Rendering>;

  /** @param added renderings besides the program's own, which clients prefer to them only by naming them */
  constructor(added: readonly Rendering[] = []) {
    this.#offered = [...STANDARD_RENDERINGS, ...added];
    this.#byName = new Map(
      this.#offered.flatMap((rendering) => rendering.mediaTypes.map((name) => [name, rendering] as const)),
    );
    this.accepted = this.#offered.flatMap(({ mediaTypes }) => mediaTypes).join(', ');
    this.ofHeaders = this.#offered.find(({ readsHeaders }) => readsHeaders === true);
  }

  /** The rendering of a media type (in lower case) in a profile of it; undefined for a type that is not offered. */
  named(mediaType: string, profile?: string): Rendering | undefined {
    const rendering = this.#byName.get(mediaType);
    if (profile === undefined || rendering?.profile === undefined) return rendering;
    return PROFILES.find(
      (candidate) => candidate.mediaTypes[0] === rendering.mediaTypes[0] && candidate.profile === profile,
    );
  }

  /**
   * The rendering that an `Accept` header prefers; undefined when it accepts none, which is a 406. Where the header
   * leaves the choice open (`*\/*`, `text/*`, or nothing at all), `fallback` is taken if it fits.
   * @throws CmbsError `bad_request` for a header that cannot be understood
   */
  negotiate(accept: string | undefined, fallback: () => Rendering): Rendering | undefined {
    const isOpen = accept === undefined || accept.trim() === '' || accept.includes('*');
    return chooseOffer(accept, [...(isOpen ? [fallback()] : []), ...this.#offered, ...PROFILES]);
  }
}

/** The program's own renderings alone. */
export const RENDERINGS = new Renderings();
