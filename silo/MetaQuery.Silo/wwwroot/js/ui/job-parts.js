import { h, icon, setAttribute, setText } from '../dom.js';
import { count, percent, plural, words } from '../format.js';

// Of each state: its icon, its tone, and what may be asked of a job in it (as the farm's table of states has it).
const STATES = {
  queued: { icon: 'clock', tone: 'waiting', can: ['pause', 'cancel'] },
  planning: { icon: 'run', tone: 'active', can: ['pause', 'cancel'] },
  running: { icon: 'run', tone: 'active', can: ['pause', 'cancel'] },
  finishing: { icon: 'run', tone: 'active', can: ['cancel'] },
  paused: { icon: 'pause', tone: 'waiting', can: ['resume', 'cancel'] },
  completed: { icon: 'check', tone: 'good', can: ['delete'] },
  completed_with_errors: { icon: 'warning', tone: 'warning', can: ['retry-failed', 'delete'] },
  cancelled: { icon: 'stop', tone: 'off', can: ['delete'] },
  failed: { icon: 'failed', tone: 'bad', can: ['retry-failed', 'delete'] },
};
const UNKNOWN = { icon: 'clock', tone: 'waiting', can: [] };

export const isFinal = (state) => ['completed', 'completed_with_errors', 'cancelled', 'failed'].includes(state);
export const allows = (state, command) => (STATES[state] ?? UNKNOWN).can.includes(command);
export const ACTIVE = ['queued', 'planning', 'running', 'finishing', 'paused'];
export const FINISHED = ['completed', 'completed_with_errors', 'cancelled', 'failed'];

export function stateBadge() {
  const element = h('span', { class: 'state' });
  let shown = null;
  return {
    element,
    update(state) {
      if (state === shown) return;
      shown = state;
      const { icon: name, tone } = STATES[state] ?? UNKNOWN;
      element.dataset.tone = tone;
      element.replaceChildren(icon(name), h('span', null, words(state)));
    },
  };
}

/** A job's images cut into parts that do not overlap; together they are all of it. */
export function parts(counts) {
  const { planned = 0, encoded = 0, denoised = 0, written = 0, failed = 0 } = counts;
  const images = Math.max(counts.images ?? 0, planned, written + failed);
  let left = images;
  const take = (wanted) => {
    const taken = Math.max(0, Math.min(left, wanted));
    left -= taken;
    return taken;
  };
  const done = take(written);
  const lost = take(failed);
  const made = take(denoised - written);
  const ready = take(encoded - Math.max(denoised, written) - failed);
  return { images, written: done, failed: lost, denoised: made, encoded: ready, waiting: left };
}

const SEGMENTS = [
  ['written', 'written', 'Committed to disk'],
  ['denoised', 'denoised', 'Made, and on the way to the disk'],
  ['encoded', 'encoded', 'The prompt is encoded; the picture is still to be made'],
  ['waiting', 'waiting', 'Not begun yet'],
  ['failed', 'failed', 'Given up, with a reason'],
];

/** The stacked bar. `legend` adds the figures in words. */
export function progressBar({ legend = false } = {}) {
  const segments = Object.fromEntries(SEGMENTS.map(([name]) => [name, h('span', { class: 'segment', dataset: { part: name } })]));
  const bar = h('div', { class: 'bar', role: 'progressbar', 'aria-valuemin': 0 }, SEGMENTS.map(([name]) => segments[name]));
  const figures = Object.fromEntries(SEGMENTS.map(([name]) => [name, h('dd', null)]));
  const list = legend && h('dl', { class: 'legend' }, SEGMENTS.map(([name, label, title]) =>
    h('div', { dataset: { part: name }, title }, h('dt', null, h('i', { class: 'swatch', dataset: { part: name } }), label), figures[name])));
  return {
    element: h('div', { class: 'progress' }, bar, list),
    update(job) {
      const share = parts(job.counts);
      for (const [name] of SEGMENTS) {
        segments[name].style.setProperty('flex-grow', share.images > 0 ? share[name] / share.images : name === 'waiting' ? 1 : 0);
        setAttribute(segments[name], 'hidden', share[name] === 0 && !(name === 'waiting' && share.images === 0) ? '' : null);
        if (legend) setText(figures[name], count(share[name]));
      }
      setAttribute(bar, 'aria-valuemax', Math.max(share.images, 1));
      setAttribute(bar, 'aria-valuenow', share.written + share.failed);
      setAttribute(bar, 'aria-label', `Progress of ${job.name || job.id}`);
      setAttribute(bar, 'aria-valuetext', progressText(job));
    },
  };
}

export function progressText(job) {
  const share = parts(job.counts);
  if (share.images === 0) return 'nothing planned yet';
  const failed = share.failed > 0 ? `, ${count(share.failed)} failed` : '';
  return `${count(share.written)} of ${plural(share.images, 'picture')} written${failed}`;
}

export function doneShare(job) {
  const share = parts(job.counts);
  return share.images === 0 ? '' : percent((share.written + share.failed) / share.images);
}

export const jobTitle = (job) => job.name || job.id;
