// The map's images as the server tells them: two blocks of bytes, asked for again with their ETags.

const ARRAYS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };

export class MapData {
  constructor() {
    Object.assign(this, { n: 0, places: null, facts: null, tags: {} });
  }

  /** Fetches what is new. True if anything is; `this.n` is 0 while there is no map. */
  async load() {
    const [places, facts] = await Promise.all([this.block('places'), this.block('facts')]);
    if (!places && !facts) return false;
    if (places) this.place(places);
    if (facts) this.facts = facts;
    if (this.places && this.facts?.n !== this.places.n) this.tags = {}; // images came in between: both anew, next time
    this.n = this.places && this.facts?.n === this.places.n ? this.places.n : 0;
    return true;
  }

  /** A block's head and arrays, or null where it is as it was. */
  async block(name) {
    const tag = this.tags[name];
    const headers = tag ? { 'if-none-match': tag } : {};
    const response = await fetch(`/labeler/map/${name}`, { headers, cache: 'no-store', signal: AbortSignal.timeout(30_000) });
    if (response.status === 304) return null;
    if (!response.ok) throw new Error(`The server answered ${response.status}.`);
    this.tags[name] = response.headers.get('etag');
    return response.status === 204 ? { n: 0 } : parsed(await response.arrayBuffer());
  }

  place(places) {
    this.places = places;
    if (!places.n) return;
    this.xy = places.arrays.places;
    this.ids = places.arrays.ids;
    this.here = Uint32Array.from(places.arrays.ids.keys()).filter((i) => Number.isFinite(this.xy[2 * i])); // the others came later
  }
}

function parsed(buffer) {
  const size = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  const arrays = {};
  let at = 4 + size;
  for (const [name, type, length] of head.arrays) {
    arrays[name] = new ARRAYS[type](buffer, at, length);
    at += arrays[name].byteLength;
  }
  return { ...head, arrays };
}
