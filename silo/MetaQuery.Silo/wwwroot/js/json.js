// Seeds are 64-bit: JSON.parse would round them. Whole numbers beyond 2^53 become their digits as text; everything else is plain JSON.

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

export function parseJson(text) {
  return JSON.parse(text.replace(TOKEN, (token) =>
    /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token));
}

/** JSON for people, with the numbers that `parseJson` kept as digits written as numbers again. */
export function jsonText(object) {
  return JSON.stringify(object, null, 2).replace(/^(  "seed": )"(\d+)"/m, '$1$2');
}

/** An object as JSON; `digits` holds fields that are whole numbers written out, of any length. */
export function writeJson(object, digits = {}) {
  const text = JSON.stringify(object);
  const more = Object.entries(digits).map(([name, value]) => {
    if (!/^\d+$/.test(value)) throw new TypeError(`${name}: ${value} is not a whole number`);
    return `${JSON.stringify(name)}:${BigInt(value)}`;
  });
  return more.length === 0 ? text : text === '{}' ? `{${more.join(',')}}` : `${text.slice(0, -1)},${more.join(',')}}`;
}
