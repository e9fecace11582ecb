import { api, setKey } from '../api.js';
import { fill, h, icon, keyed, setAttribute, setText } from '../dom.js';
import { ago, bytes, count, duration, moment, percent, plural, rate, words } from '../format.js';
import { jobHash } from '../router.js';
import { askForKey, confirmAction } from '../ui/dialog.js';
import { emptyState, errorBox, loading, toast } from '../ui/notices.js';
import { poll } from '../ui/polling.js';
import { silosSection } from './silos.js';

const TONES = { running: 'good', draining: 'warning', drained: 'off' };
const ICONS = { running: 'run', draining: 'drain', drained: 'stop' };
const SILENT_SECONDS = 10;

/** Who works here: workers with their slots, a cluster's silos, and the condition cache. */
export function workersView(root) {
  document.title = 'Workers – MetaQuery.Farm';
  const problem = h('div');
  const summary = h('p', { class: 'about' });
  const list = h('ul', { class: 'workers' });
  const empty = h('div', null, loading());
  const cache = h('div', { class: 'counters' });
  const silos = silosSection({ onDone: () => polling.now(), onError: showError });
  fill(root, h('h1', null, 'Workers'), problem, summary, list, empty, silos.element,
    h('section', { class: 'cache', 'aria-labelledby': 'cache-title' }, h('h2', { id: 'cache-title' }, 'Condition cache'),
      h('p', { class: 'hint' }, 'A prompt passes the language model once; what comes of it is kept and shared by all pictures of that prompt.'), cache));

  let mayDrain = false;
  let names = new Map(); // of the jobs at work, as far as the asker may see them
  const polling = poll(load, { every: 2000, onError: (error) => showError(error, 'The workers cannot be shown') });

  async function load(signal) {
    const [workers, counters, asker, jobs] = await Promise.all([
      api.workers(signal), api.cache(signal), api.usage(signal), api.jobs({ limit: 100, states: ['running', 'finishing'] }, signal),
    ]);
    names = new Map(jobs.data.map((job) => [job.id, job.name]));
    mayDrain = asker.admin;
    problem.replaceChildren();
    showWorkers(workers.data.toSorted((a, b) => (a.id < b.id ? -1 : 1)));
    showCache(counters);
    if (asker.admin) silos.update(await api.silos(signal));
  }

  function showError(error, title) {
    const ask = async () => {
      const value = await askForKey({ refused: false });
      if (value) setKey(value);
    };
    fill(problem, errorBox(error, { title, again: error.status === 401 ? ask : () => polling.now(), action: error.status === 401 ? 'Enter an API key' : 'Try again' }));
  }

  function showWorkers(workers) {
    const slots = workers.reduce((sum, worker) => sum + worker.slots.length, 0);
    const busy = workers.reduce((sum, worker) => sum + worker.slots.filter((slot) => slot.activity !== 'idle').length, 0);
    const speed = workers.reduce((sum, worker) => sum + worker.images_per_second, 0);
    setText(summary, workers.length === 0 ? '' : `${plural(workers.length, 'worker')}, ${count(busy)} of ${plural(slots, 'slot')} at work, ${rate(speed)} pictures/s`);
    keyed(list, workers, (worker) => worker.id, () => workerCard({ nameOf: (job) => names.get(job) || job, mayDrain: () => mayDrain, onDone: () => polling.now(), onError: showError }));
    if (workers.length > 0) empty.replaceChildren();
    else if (empty.querySelector('h2') === null) {
      fill(empty, emptyState('No workers', h('p', null, 'Jobs wait until one joins. “./farm serve” brings its own; beside a farm that uses Redis, start more on any machine that sees it:'),
        h('pre', null, './farm worker --redis HOST:PORT --slots 2')));
    }
  }

  function showCache(counters) {
    const tiers = [['Memory', counters.memory_hits], ['Redis', counters.redis_hits], ['Disk', counters.disk_hits]].filter(([, value]) => value !== undefined && value !== null);
    const hits = tiers.reduce((sum, [, value]) => sum + value, 0) + (counters.shared_flights ?? 0);
    const asked = hits + (counters.misses ?? 0);
    const rows = [
      ['Found in the cache', asked > 0 ? percent(hits / asked) : '–', 'Share of look-ups that needed no pass through the language model'],
      ['Passes', counters.passes, 'Prompts that went through the language model'], ['Passes made again', counters.passes_again, 'Made before, and lost by eviction, damage or a dead worker'],
      ...tiers.map(([name, value]) => [`${name} hits`, value]), ['Shared flights', counters.shared_flights, 'Waited for a pass that another was making'], ['Misses', counters.misses],
      ['Evictions', counters.evictions], ['Damaged entries', counters.corrupt_entries],
      ['In memory', counters.memory_bytes === undefined ? undefined : bytes(counters.memory_bytes)], ['In Redis', counters.redis_bytes ? bytes(counters.redis_bytes) : undefined],
      ['On disk', counters.disk_bytes === undefined ? undefined : bytes(counters.disk_bytes)],
    ];
    fill(cache, h('dl', null, rows.filter(([, value]) => value !== undefined && value !== null).map(([label, value, title]) =>
      h('div', { title }, h('dt', null, label), h('dd', null, typeof value === 'number' ? count(value) : value)))));
  }

  return { update() {}, close: () => polling.stop() };
}

function workerCard({ nameOf, mayDrain, onDone, onError }) {
  const name = h('h2', null);
  const state = h('span', { class: 'state' });
  const about = h('p', { class: 'about' });
  const figures = h('dl', { class: 'speeds' });
  const slots = h('ul', { class: 'slots' });
  const drain = h('button', { type: 'button', class: 'quiet' }, icon('drain'), h('span', null, 'Drain'));
  let worker = null;
  drain.addEventListener('click', async () => {
    const { id } = worker;
    const sure = await confirmAction({ title: `Drain ${id}?`, text: 'It finishes what it has begun, gives back the rest, and leaves. To have it again, it must be started anew.', action: 'Drain the worker' });
    if (!sure) return;
    try {
      await api.drain(id);
      toast(`Draining: ${id}`);
      onDone();
    } catch (error) {
      onError(error, `${id} was not drained`);
    }
  });
  const element = h('li', { class: 'worker' }, h('div', { class: 'worker-head' }, name, state, drain), about, figures, slots);
  return {
    element,
    update(next) {
      worker = next;
      setText(name, next.id);
      const silent = next.seconds_since_heartbeat > SILENT_SECONDS;
      const shown = silent ? 'silent' : next.state;
      if (state.dataset.state !== shown) {
        state.dataset.state = shown;
        state.dataset.tone = silent ? 'bad' : TONES[next.state] ?? 'waiting';
        fill(state, icon(silent ? 'warning' : ICONS[next.state] ?? 'clock'), h('span', null, silent ? 'Silent' : words(next.state)));
      }
      setAttribute(drain, 'aria-label', `Drain ${next.id}`);
      drain.hidden = next.state !== 'running' || !mayDrain();
      setText(about, [...(next.host === null ? [] : [`${next.host}, process ${next.process_id}`]), next.roles.join(' + '), next.device, `lane ${next.lane}`, `since ${moment(next.started_at)}`,
        silent ? `last heard of ${duration(next.seconds_since_heartbeat)} ago` : null].filter(Boolean).join(' · '));
      showFigures(next);
      keyed(slots, next.slots.map((slot, index) => ({ ...slot, index })), (slot) => slot.index, (slot) => slotLine(slot, nameOf));
    },
  };

  function showFigures(next) {
    const rows = [['Pictures/s', rate(next.images_per_second)], ['Prompts/s', rate(next.conditions_per_second)], ['Pictures made', count(next.images_made)], ['Prompts encoded', count(next.conditions_made)]];
    const meter = h('span', { class: 'meter', 'aria-hidden': 'true' }, h('span', { style: { width: `${Math.round(100 * Math.min(1, next.busy_share))}%` } }));
    fill(figures, h('div', { class: 'busy' }, h('dt', null, 'Busy'), h('dd', null, percent(next.busy_share), meter)), rows.map(([label, value]) => h('div', null, h('dt', null, label), h('dd', null, value))));
  }
}

function slotLine({ index }, nameOf) {
  const what = h('span', { class: 'slot-what' });
  const jobs = h('span', { class: 'slot-jobs' });
  const since = h('span', { class: 'slot-since' });
  let shown = null;
  return {
    element: h('li', null, h('span', { class: 'slot-name' }, `Slot ${index + 1}`), what, jobs, since),
    update(slot) {
      what.dataset.activity = slot.activity;
      const work = { encode: `encodes ${plural(slot.rows, 'prompt')}`, denoise: `makes ${plural(slot.rows, 'picture')}`, idle: 'idle' };
      setText(what, work[slot.activity] ?? slot.activity);
      const text = slot.jobs.map((job) => `${job} ${nameOf(job)}`).join('\n');
      if (text !== shown) {
        shown = text;
        fill(jobs, slot.jobs.map((job) => h('a', { href: jobHash(job), title: job }, nameOf(job))));
      }
      setText(since, slot.activity === 'idle' || !slot.since ? '' : `since ${ago(slot.since)}`.replace('since just now', 'just now').replace(/since (.*) ago/, 'for $1'));
    },
  };
}
