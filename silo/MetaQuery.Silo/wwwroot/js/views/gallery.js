import { api } from '../api.js';
import { fill, h, icon, setAttribute, setText } from '../dom.js';
import { count, shorten } from '../format.js';
import { jobHash, replacePlace, sampleHash } from '../router.js';
import { isFinal, parts } from '../ui/job-parts.js';
import { emptyState, errorBox } from '../ui/notices.js';
import { showPicture } from '../ui/pictures.js';
import { galleryBar } from './gallery-bar.js';
import { knownSample, loadSamples, pageOf, pageSize } from './samples.js';

const TOGETHER_MS = 250; // new pictures are fetched together, not one by one
const FAILURES_MS = 1500;
const QUIET_MS = 1500; // pictures come in no strict order: a page is turned when it has had none for this long

/** The pictures of a job by their place in it, a page at a time: a place that is not made yet is an empty cell, so nothing moves when it is. */
export function gallerySection(root, id, { job, place }) {
  const stop = new AbortController();
  const list = h('ol', { class: 'gallery', 'aria-label': 'Pictures' });
  const hint = h('div');
  const problem = h('div');
  const bar = galleryBar({ onPage: (page) => goTo(page), onFollow: (on) => setFollow(on), onSize: () => goTo(pageOf(start)) });
  fill(root, bar.element, problem, list, hint);

  let start = -1;
  let cells = new Map(); // position -> cell
  let follow = !isFinal(job().state) && !place.params.has('page') && place.sample === null;
  let lastHere = Date.now();
  let wanted = null; // { from, to }: a range with new pictures
  let timer = null;
  let failedShown = 0;
  let failuresTimer = null;
  let written = job().counts.written;

  list.addEventListener('keydown', moveFocus);
  list.addEventListener('focusin', (event) => rove(event.target.closest('a')));
  open(firstPage(place));

  function firstPage({ params, sample = null }) {
    if (sample !== null) return Math.min(pageOf(sample), lastPage());
    const page = Number.parseInt(params.get('page') ?? '', 10);
    if (page >= 1) return Math.min(page, lastPage());
    const { written: done, failed } = parts(job().counts);
    return follow && done + failed > 0 ? pageOf(done + failed - 1) : 1;
  }

  function lastPage() {
    return Math.max(1, Math.ceil(parts(job().counts).images / pageSize()));
  }

  function goTo(page) {
    follow = false;
    replacePlace(jobHash(id, 'pictures', { page: Math.min(Math.max(1, page), lastPage()) }));
    open(Math.min(Math.max(1, page), lastPage()));
  }

  function setFollow(on) {
    follow = on;
    if (on) {
      replacePlace(jobHash(id));
      open(firstPage({ params: new URLSearchParams() }));
    } else {
      replacePlace(jobHash(id, 'pictures', { page: pageOf(start) }));
    }
  }

  /** Shows a page: as many cells as it has places, made or not. */
  function open(page) {
    const from = (page - 1) * pageSize();
    const to = Math.min(from + pageSize(), parts(job().counts).images);
    lastHere = Date.now();
    if (from !== start || cells.size !== to - from) {
      const before = cells;
      cells = new Map();
      for (let position = from; position < to; position++) {
        cells.set(position, before.get(position) ?? pictureCell(id, position));
        before.delete(position);
      }
      list.replaceChildren(...[...cells.values()].map((cell) => cell.element));
      list.start = from + 1;
      start = from;
      for (const [position, cell] of cells) {
        const sample = knownSample(id, position);
        if (sample) cell.show(sample);
      }
      rove(list.querySelector('a'));
    }
    showBar();
    load(from, to);
    if (job().counts.failed > 0) loadFailures();
  }

  async function load(from, to) {
    if (to <= from) return;
    try {
      await loadSamples(id, from, to, stop.signal, (sample) => cells.get(sample.position)?.show(sample));
      problem.replaceChildren();
      if (!list.querySelector('a[tabindex="0"]')) rove(list.querySelector('a'));
    } catch (error) {
      if (!stop.signal.aborted) fill(problem, errorBox(error, { title: 'Pictures cannot be shown', again: () => load(from, to) }));
    }
  }

  async function loadFailures() {
    clearTimeout(failuresTimer);
    failuresTimer = null;
    failedShown = job().counts.failed;
    try {
      const failures = (await api.failures(id, stop.signal)).data;
      const each = job().settings.images_per_prompt;
      const failed = new Map(failures.map((one) => [one.position ?? one.prompt_index * each + one.sample_index, one]));
      for (const [position, cell] of cells) cell.setFailure(failed.get(position) ?? null);
    } catch {
      // The section “Failures” says why; here such a place stays an empty cell.
    }
  }

  function showBar() {
    const { images } = parts(job().counts);
    bar.update({ start, cells: cells.size, images, page: pageOf(Math.max(0, start)), pages: lastPage(), follow, active: !isFinal(job().state) });
    const state = job().state;
    if (images > 0 && cells.size > 0) hint.replaceChildren();
    else {
      fill(hint, emptyState('No pictures yet', h('p', null, state === 'queued' ? 'The job waits for a worker of its model. Pictures appear here as they are made.'
        : isFinal(state) ? 'The job ended before any picture was made.' : 'The prompts are being read. Pictures appear here as they are made.')));
    }
  }

  function soon() {
    timer ??= setTimeout(() => {
      timer = null;
      const range = wanted;
      wanted = null;
      if (range) load(Math.max(range.from, start), Math.min(range.to, start + cells.size));
    }, TOGETHER_MS);
  }

  function want(from, to) {
    wanted = wanted ? { from: Math.min(from, wanted.from), to: Math.max(to, wanted.to) } : { from, to };
    soon();
  }

  /** Only one cell takes part in the order of Tab; the arrows go between them. */
  function rove(link) {
    if (!link) return;
    for (const other of list.querySelectorAll('a[tabindex="0"]')) if (other !== link) other.tabIndex = -1;
    link.tabIndex = 0;
  }

  function moveFocus(event) {
    const links = [...list.querySelectorAll('a')];
    const at = links.indexOf(document.activeElement);
    if (at < 0) return;
    const columns = getComputedStyle(list).gridTemplateColumns.split(' ').length;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns, Home: 0, End: links.length - 1 }[event.key];
    if (to === undefined || !links[to]) return;
    event.preventDefault();
    links[to].focus();
  }

  return {
    update(next) {
      if (start < 0) return;
      const { images } = parts(next.counts);
      const to = Math.min(start + pageSize(), images);
      if (cells.size !== Math.max(0, to - start)) open(pageOf(start));
      else showBar();
      if (next.counts.failed !== failedShown) failuresTimer ??= setTimeout(loadFailures, FAILURES_MS);
      // Events name the latest pictures only where there were many: then the page is looked through.
      if (next.counts.written > written) want(firstMissing(), start + cells.size);
      written = next.counts.written;
    },
    newSamples(positions) {
      if (positions.length === 0) return;
      const here = positions.filter((position) => cells.has(position));
      if (here.length > 0) {
        lastHere = Date.now();
        want(Math.min(...here), Math.max(...here) + 1);
      } else if (follow && Date.now() - lastHere > QUIET_MS) {
        open(pageOf(positions.at(-1)));
      }
    },
    refresh: () => want(start, start + cells.size),
    turn(now) {
      const page = Number.parseInt(now.params.get('page') ?? '', 10);
      if (page >= 1 && page !== pageOf(start)) {
        follow = false;
        open(Math.min(page, lastPage()));
      }
    },
    close() {
      stop.abort();
      clearTimeout(timer);
      clearTimeout(failuresTimer);
    },
  };

  function firstMissing() {
    for (const [position, cell] of cells) if (!cell.isShown()) return position;
    return start + cells.size;
  }
}

function pictureCell(id, position) {
  const element = h('li', { class: 'cell', 'aria-hidden': 'true', dataset: { position, state: 'waiting' } }, h('span', { class: 'number' }, count(position + 1)));
  let shown = null;
  let failure = null;
  return {
    element,
    isShown: () => shown !== null,
    show(sample) {
      if (shown === sample.key) return;
      shown = sample.key;
      failure = null;
      element.removeAttribute('aria-hidden');
      element.dataset.state = 'made';
      const image = h('img', { alt: '', decoding: 'async', loading: 'lazy' });
      const caption = h('span', { class: 'caption' });
      setText(caption, shorten(sample.prompt, 300));
      const link = h('a', { href: sampleHash(id, position, pageOf(position)), tabindex: -1, title: shorten(sample.prompt, 300), 'aria-label': `Picture ${position + 1}: ${shorten(sample.prompt, 300)}` }, image, caption);
      image.addEventListener('error', () => {
        if (image.onerror) return; // it is tried once more, see showPicture
        element.dataset.state = 'broken';
        shown = null; // and again when the page's pictures are fetched the next time
      });
      image.addEventListener('load', () => {
        element.dataset.state = 'made';
      });
      showPicture(image, id, sample, { small: true });
      fill(element, link);
    },
    setFailure(one) {
      if (shown !== null || one?.key === failure) return;
      failure = one?.key ?? null;
      element.dataset.state = one ? 'failed' : 'waiting';
      setAttribute(element, 'aria-hidden', one ? null : 'true');
      if (one) {
        fill(element, h('a', { href: jobHash(id, 'failures'), tabindex: -1, title: one.reason, 'aria-label': `Picture ${position + 1} failed: ${one.reason}` }, icon('failed'), h('span', { class: 'caption' }, 'Failed')));
      } else {
        fill(element, h('span', { class: 'number' }, count(position + 1)));
      }
    },
  };
}
