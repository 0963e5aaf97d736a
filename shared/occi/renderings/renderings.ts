/** The renderings that a deployment offers, and the choice among them. */
import { gfd226Json } from './gfd226-json';
import { chooseOffer } from './media-type';
import { occiJson, PROFILES } from './occi-json';
import type { Rendering, TextRendering } from './rendering';
import { textOcci } from './text-occi';
import { textPlain } from './text-plain';
import { uriList } from './uri-list';

/** The rendering for clients that state no preference (GFD.185 §3.6.6). */
export const TEXT_PLAIN: TextRendering = textPlain;

/** The program's own renderings, in the server's order of preference. */
export const STANDARD_RENDERINGS: readonly TextRendering[] = [textPlain, occiJson, gfd226Json, textOcci, uriList];

export class Renderings {
  /** The media types of requests, for the `Accept` header of answers (RFC 9110 §12.5.1). */
  readonly accepted: string;
  /** The rendering that reads requests with OCCI headers and no body. */
  readonly ofHeaders: Rendering | undefined;
  readonly #offered: readonly Rendering[];
  readonly #byName: ReadonlyMap<string, Rendering>;

  /** @param added further renderings; a client gets one only if it names the media type */
  constructor(added: readonly Rendering[] = []) {
    this.#offered = [...STANDARD_RENDERINGS, ...added];
    this.#byName = new Map(
      this.#offered.flatMap((rendering) => rendering.mediaTypes.map((name) => [name, rendering] as const)),
    );
    this.accepted = this.#offered.flatMap(({ mediaTypes }) => mediaTypes).join(', ');
    this.ofHeaders = this.#offered.find(({ readsHeaders }) => readsHeaders === true);
  }

  /**
   * The rendering of a media type in one of its profiles.
   * @param mediaType in lower case
   * @returns undefined for a type or a profile that is not offered
   */
  named(mediaType: string, profile?: string): Rendering | undefined {
    const rendering = this.#byName.get(mediaType);
    if (profile === undefined || rendering?.profile === undefined) return rendering;
    return PROFILES.find(
      (candidate) => candidate.mediaTypes[0] === rendering.mediaTypes[0] && candidate.profile === profile,
    );
  }

  /**
   * The rendering that an `Accept` header prefers. If the header leaves the choice open (`*\/*`, `text/*`, or no header),
   * `fallback` is preferred where it fits.
   * @returns undefined if the header accepts no rendering, which is a 406
   * @throws CmbsError `bad_request` for a header that cannot be understood
   */
  negotiate(accept: string | undefined, fallback: () => Rendering): Rendering | undefined {
    const isOpen = accept === undefined || accept.trim() === '' || accept.includes('*');
    return chooseOffer(accept, [...(isOpen ? [fallback()] : []), ...this.#offered, ...PROFILES]);
  }
}

/** The program's own renderings alone. */
export const RENDERINGS = new Renderings();
