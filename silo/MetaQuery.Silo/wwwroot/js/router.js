// Places in the page are hashes, so that a reload keeps them: #/, #/workers, #/jobs/ID[/failures|/files|/details|/samples/POSITION][?page=N].

export function parse(hash) {
  const [path, query] = hash.replace(/^#\/?/, '').split('?');
  const parts = path.split('/').filter(Boolean).map(decode);
  const params = new URLSearchParams(query ?? '');
  if (parts.length === 0) return { view: 'jobs', params };
  if (parts[0] === 'workers' && parts.length === 1) return { view: 'workers', params };
  if (parts[0] === 'jobs' && parts[1]) {
    const section = parts[2] ?? 'pictures';
    if (section === 'samples' && /^\d+$/.test(parts[3] ?? '')) {
      return { view: 'job', job: parts[1], section: 'pictures', sample: Number(parts[3]), params };
    }
    if (['pictures', 'failures', 'files', 'details'].includes(section)) return { view: 'job', job: parts[1], section, sample: null, params };
  }
  return { view: 'missing', params };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a stray %; the place is then simply not found
  }
}

export function jobHash(job, section = 'pictures', params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== null && value !== undefined)).toString();
  return `#/jobs/${encodeURIComponent(job)}${section === 'pictures' ? '' : `/${section}`}${query ? `?${query}` : ''}`;
}

export const sampleHash = (job, position, page) => jobHash(job, `samples/${position}`, { page });

export function jobsHash(params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value)).toString();
  return `#/${query ? `?${query}` : ''}`;
}

/** Changes the place without an entry in the history (and without a view change when only the query differs). */
export function replacePlace(hash) {
  if (location.hash !== hash) {
    history.replaceState(null, '', hash);
    window.dispatchEvent(new HashChangeEvent('hashchange'));
  }
}
