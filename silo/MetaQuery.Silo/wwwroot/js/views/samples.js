import { api } from '../api.js';

const MOST = 2000; // samples remembered of the job in view
const PIECE = 100; // samples asked for at a time
const PAGE_SIZE = 'metaquery.pagesize';
export const PAGE_SIZES = [60, 120, 240];

let known = { job: null, samples: new Map() };

function memory(job) {
  if (known.job !== job) known = { job, samples: new Map() };
  return known.samples;
}

export const knownSample = (job, position) => memory(job).get(position);

export function remember(job, sample) {
  const samples = memory(job);
  samples.set(sample.position, sample);
  if (samples.size > MOST) samples.delete(samples.keys().next().value);
}

/** Fetches the finished samples of positions [from, to), in pieces; `each(sample)` as they come. */
export async function loadSamples(job, from, to, signal, each) {
  for (let at = from; at < to;) {
    const page = await api.samples(job, at, Math.min(PIECE, to - at), signal);
    for (const sample of page.data) {
      if (sample.position >= to) return;
      remember(job, sample);
      each(sample);
    }
    if (page.next === null || page.next === undefined || page.next <= at) return;
    at = page.next;
  }
}

/** The finished sample nearest to a position in one direction, or null at the end. */
export async function neighbour(job, position, step) {
  const near = memory(job).get(position + step);
  if (near) return near;
  if (step > 0) {
    const page = await api.samples(job, position + 1, 1);
    page.data.forEach((sample) => remember(job, sample));
    return page.data[0] ?? null;
  }
  for (let end = position; end > 0;) {
    const from = Math.max(0, end - PIECE);
    const page = await api.samples(job, from, end - from);
    const before = page.data.filter((sample) => sample.position < position);
    if (before.length > 0) {
      remember(job, before.at(-1));
      return before.at(-1);
    }
    end = from;
  }
  return null;
}

export function pageSize() {
  try {
    const size = Number(localStorage.getItem(PAGE_SIZE));
    return PAGE_SIZES.includes(size) ? size : 120;
  } catch {
    return 120;
  }
}

export function setPageSize(size) {
  try {
    localStorage.setItem(PAGE_SIZE, size);
  } catch {
    // Without storage there is one size.
  }
}

/** From 1. */
export const pageOf = (position) => Math.floor(position / pageSize()) + 1;
