import { parseJson } from './json.js';

const KEY = 'metaquery.key';

/** What the API answered in place of what was wanted. */
export class ApiError extends Error {
  constructor(message, { status = 0, param = null, code = null, retryAfter = null, request = null } = {}) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.param = param;
    this.code = code;
    this.retryAfter = retryAfter;
    this.request = request;
  }

  get isMissing() {
    return this.status === 404;
  }
}

let memoryKey = null;
let askForKey = null;
let asking = null;
let declined = false;

/** Who asks the user: `ask({ refused }) -> Promise<string|null>`. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

export function key() {
  try {
    return sessionStorage.getItem(KEY) ?? memoryKey;
  } catch {
    return memoryKey;
  }
}

/** @param answered whether requests waited for it: they go on by themselves, and no view need begin anew */
export function setKey(value, { answered = false } = {}) {
  memoryKey = value;
  declined = false;
  try {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  } catch {
    // Without storage the key lasts until the page is reloaded.
  }
  window.dispatchEvent(new CustomEvent('keychange', { detail: { answered } }));
}

export function authorized(headers = {}) {
  const value = key();
  return value ? { ...headers, Authorization: `Bearer ${value}` } : headers;
}

/** Asks for a key once, however many requests wait for it. Answers whether it is worth trying again. */
async function haveNewKey(used) {
  if (key() !== used) return true; // another request's answer came meanwhile
  if (declined || !askForKey) return false;
  asking ??= askForKey({ refused: Boolean(used) }).finally(() => (asking = null));
  const value = await asking;
  if (value) {
    if (key() !== value) setKey(value, { answered: true });
    return true;
  }
  declined = true;
  return false;
}

export async function errorOf(response) {
  let body = null;
  try {
    body = parseJson(await response.text());
  } catch {
    // Not the API speaking: a proxy, perhaps. The status says what there is to say.
  }
  const error = body?.error ?? {};
  const message = typeof error.message === 'string' && error.message ? error.message : plain(response.status);
  const wait = Number(response.headers.get('Retry-After'));
  return new ApiError(message, {
    status: response.status, param: error.param ?? null, code: error.code ?? null, retryAfter: Number.isFinite(wait) && wait > 0 ? wait : null,
    request: response.status >= 500 ? response.headers.get('x-request-id') : null,
  });
}

function plain(status) {
  const known = {
    401: 'This farm needs an API key.', 403: 'This API key may not do that.', 404: 'There is no such thing here.', 413: 'That is more than this farm takes at once.',
    429: 'Too many requests: try again a little later.', 502: 'The farm cannot be reached.', 503: 'The farm is not ready.', 504: 'The farm did not answer in time.',
  };
  return known[status] ?? `The farm answered with status ${status}.`;
}

/** fetch with the key; asks for one on 401 and goes on. Any other failure is an ApiError. */
export async function send(path, { method = 'GET', headers = {}, body, signal } = {}) {
  for (;;) {
    const used = key();
    let response;
    try {
      response = await fetch(path, { method, headers: authorized(headers), body, signal, cache: 'no-store', credentials: 'same-origin' });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new ApiError('The farm cannot be reached. Is it running?');
    }
    if (response.ok) return response;
    if (response.status === 401 && (await haveNewKey(used))) continue;
    throw await errorOf(response);
  }
}

export async function json(path, options) {
  return parseJson(await (await send(path, options)).text());
}

const job = (id, rest = '') => `/v1/jobs/${encodeURIComponent(id)}${rest}`;

export const api = {
  models: (signal) => json('/v1/models', { signal }),
  usage: (signal) => json('/v1/usage', { signal }),
  workers: (signal) => json('/v1/workers', { signal }),
  cache: (signal) => json('/v1/cache', { signal }),
  silos: (signal) => json('/v1/silos', { signal }),
  drainSilo: (id) => send(`/v1/silos/${encodeURIComponent(id)}/drain`, { method: 'POST' }),
  scaleSilo: (id, slots) => send(`/v1/silos/${encodeURIComponent(id)}/scale?${new URLSearchParams({ slots })}`, { method: 'POST' }),
  drain: (id) => send(`/v1/workers/${encodeURIComponent(id)}/drain`, { method: 'POST' }),

  jobs({ limit = 25, after, states = [] } = {}, signal) {
    const query = new URLSearchParams({ limit });
    if (after) query.set('after', after);
    if (states.length > 0) query.set('state', states.join(','));
    return json(`/v1/jobs?${query}`, { signal });
  },
  job: (id, signal) => json(job(id), { signal }),
  command: (id, command) => json(job(id, `/${command}`), { method: 'POST' }),
  remove: (id) => send(job(id), { method: 'DELETE' }),
  samples: (id, from, limit, signal) => json(job(id, `/samples?${new URLSearchParams({ from, limit })}`), { signal }),
  sample: (id, position, signal) => json(job(id, `/samples/${position}`), { signal }),
  failures: (id, signal) => json(job(id, '/failures?limit=1000'), { signal }),
  files: (id, signal) => json(job(id, '/files'), { signal }),
  eventsPath: (id) => job(id, '/events'),

  /** @param body JSON text of the job. */
  submit: (body, idempotencyKey) =>
    json('/v1/jobs', { method: 'POST', headers: { 'Content-Type': 'application/json', 'Idempotency-Key': idempotencyKey }, body }),

  /** Sends a prompt file and the pictures `{ name, file }` that its lines name; `onProgress(share)` while they go up. */
  async submitFile(file, body, idempotencyKey, pictures, onProgress) {
    for (;;) {
      const used = key();
      const form = new FormData();
      form.append('job', new Blob([body], { type: 'application/json' }));
      form.append('prompts', file, file.name);
      for (const picture of pictures) form.append('pictures', picture.file, picture.name);
      const { status, text, retryAfter } = await upload('/v1/jobs', form, authorized({ 'Idempotency-Key': idempotencyKey }), onProgress);
      if (status >= 200 && status < 300) return parseJson(text);
      if (status === 401 && (await haveNewKey(used))) continue;
      throw await errorOf(new Response(text, { status, headers: retryAfter ? { 'Retry-After': retryAfter } : {} }));
    }
  },
};

// XMLHttpRequest: fetch does not say how far an upload is.
function upload(path, form, headers, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', path);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener('progress', (event) => event.lengthComputable && onProgress(event.loaded / event.total));
    request.addEventListener('load', () =>
      resolve({ status: request.status, text: request.responseText, retryAfter: request.getResponseHeader('Retry-After') }));
    request.addEventListener('error', () => reject(new ApiError('The farm cannot be reached, or it broke off the upload.')));
    request.send(form);
  });
}
