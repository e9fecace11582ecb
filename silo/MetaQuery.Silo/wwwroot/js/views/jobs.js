import { api, setKey } from '../api.js';
import { fill, h, icon, keyed, setAttribute, setText } from '../dom.js';
import { ago, count, duration, moment, rate } from '../format.js';
import { jobHash, jobsHash } from '../router.js';
import { actionButtons } from '../ui/actions.js';
import { ACTIVE, doneShare, FINISHED, isFinal, jobTitle, parts, progressBar, stateBadge } from '../ui/job-parts.js';
import { emptyState, errorBox, loading } from '../ui/notices.js';
import { poll } from '../ui/polling.js';
import { askForKey } from '../ui/dialog.js';
import { composer } from './composer.js';

const PAGE = 25;
const FILTERS = [
  { name: null, label: 'All', states: [] },
  { name: 'active', label: 'Active', states: ACTIVE },
  { name: 'finished', label: 'Finished', states: FINISHED },
];
const COLUMNS = ['Job', 'State', 'Progress', 'Pictures/s', 'Time left', 'Submitted', 'Actions'];

/** The first place: make a job, and the queue of jobs. */
export function jobsView(root, route) {
  document.title = 'Jobs – MetaQuery.Farm';
  let place = route;
  let next = null;
  let back = []; // the pages before this one, by where they began
  let after = null;
  const form = composer();
  const problem = h('div');
  const body = h('tbody', { role: 'rowgroup' });
  const table = h('table', { class: 'jobs', role: 'table', 'aria-labelledby': 'queue-title' },
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, COLUMNS.map((name) =>
      h('th', { scope: 'col', role: 'columnheader', class: name === 'Pictures/s' || name === 'Time left' ? 'number' : null },
        name === 'Actions' ? h('span', { class: 'visually-hidden' }, name) : name)))),
    body);
  const empty = h('div', null, loading());
  const filters = h('nav', { class: 'filters', 'aria-label': 'Which jobs' });
  const newer = h('button', { type: 'button', onclick: () => turn(back.pop() ?? null) }, icon('left'), 'Newer');
  const older = h('button', { type: 'button', onclick: () => {
    back.push(after);
    turn(next);
  } }, 'Older', icon('right'));
  const pager = h('div', { class: 'pager', hidden: true }, newer, older);
  fill(root, h('h1', { class: 'visually-hidden' }, 'Jobs'),
    h('div', { class: 'jobs-layout' }, form.element,
      h('section', { class: 'queue', 'aria-labelledby': 'queue-title' },
        h('div', { class: 'section-head' }, h('h2', { id: 'queue-title' }, 'Queue'), filters), problem, table, empty, pager)));
  showFilters();
  table.hidden = true;

  const jobs = poll(load, { every: 2000, onError: showError });

  function filter() {
    return FILTERS.find(({ name }) => name === place.params.get('show')) ?? FILTERS[0];
  }

  function showFilters() {
    fill(filters, FILTERS.map(({ name, label }) =>
      h('a', { href: jobsHash({ show: name }), 'aria-current': name === filter().name ? 'true' : null }, label)));
  }

  function turn(start) {
    after = start;
    jobs.now();
  }

  async function load(signal) {
    const page = await api.jobs({ limit: PAGE, after, states: filter().states }, signal);
    next = page.next ?? null;
    problem.replaceChildren();
    keyed(body, page.data, (job) => job.id, () => jobRow({ onDone: () => jobs.now(), onError: (error, what) => showError(error, `${what} did not work`) }));
    table.hidden = page.data.length === 0;
    newer.disabled = back.length === 0 && after === null;
    older.disabled = !next;
    pager.hidden = newer.disabled && older.disabled;
    showEmpty(page.data.length === 0);
  }

  function showEmpty(isEmpty) {
    if (!isEmpty) empty.replaceChildren();
    else if (empty.querySelector('h2') === null) {
      fill(empty, filter().name || after
        ? emptyState('No such jobs', h('p', null, h('a', { href: jobsHash() }, 'Show all jobs')))
        : emptyState('No jobs yet',
          h('ol', { class: 'steps' },
            h('li', null, 'Write a prompt into “New job”, one a line, or choose a file of thousands.'),
            h('li', null, 'Make pictures. The job appears here, and its pictures as they are made.'),
            h('li', null, 'Download the finished shards: WebDataset tar files with captions and provenance.')),
          h('button', { type: 'button', onclick: () => form.showExamples() }, 'Fill in three examples')));
    }
  }

  function showError(error, title = 'The jobs cannot be shown') {
    const again = error.status === 401 ? async () => {
      const value = await askForKey({ refused: false });
      if (value) setKey(value);
    } : () => jobs.now();
    empty.querySelector('.loading')?.remove();
    fill(problem, errorBox(error, { title, again, action: error.status === 401 ? 'Enter an API key' : 'Try again' }));
  }

  return {
    update(now) {
      place = now;
      back = [];
      empty.replaceChildren();
      showFilters();
      turn(null);
    },
    close() {
      jobs.stop();
      form.close();
    },
  };
}

function jobRow({ onDone, onError }) {
  const name = h('a', { class: 'job-name' });
  const about = h('span', { class: 'job-about' });
  const state = stateBadge();
  const bar = progressBar();
  const share = h('span', { class: 'share' });
  const figures = h('span', { class: 'figures' });
  const speed = cell('Pictures/s', 'number');
  const left = cell('Time left', 'number');
  const when = h('time');
  const actions = actionButtons({ only: ['pause', 'resume', 'retry-failed', 'cancel', 'delete'], compact: true, onDone, onError });
  const element = h('tr', { role: 'row' },
    h('th', { scope: 'row', role: 'rowheader' }, name, about),
    h('td', { role: 'cell', 'data-label': 'State' }, state.element),
    h('td', { role: 'cell', 'data-label': 'Progress', class: 'progress-cell' }, bar.element, h('div', { class: 'under-bar' }, figures, share)),
    speed, left,
    h('td', { role: 'cell', 'data-label': 'Submitted' }, when),
    h('td', { role: 'cell', class: 'actions-cell' }, actions.element));
  return {
    element,
    update(job) {
      const over = isFinal(job.state);
      const { images, written, failed } = parts(job.counts);
      setText(name, jobTitle(job));
      setAttribute(name, 'href', jobHash(job.id));
      setText(about, [job.priority === 'interactive' ? 'interactive' : null, job.tenant === 'local' ? null : job.tenant, job.name ? job.id : null].filter(Boolean).join(' · '));
      state.update(job.state);
      setAttribute(state.element, 'title', job.reason);
      bar.update(job);
      setText(figures, `${count(written)} / ${count(images)}${failed > 0 ? ` · ${count(failed)} failed` : ''}`);
      setText(share, over ? '' : doneShare(job));
      showFigure(speed, over || !(job.images_per_second > 0) ? '–' : rate(job.images_per_second));
      showFigure(left, over ? '–' : duration(job.seconds_left));
      setText(when, ago(job.created_at));
      setAttribute(when, 'datetime', job.created_at);
      setAttribute(when, 'title', moment(job.created_at));
      actions.update(job);
    },
  };
}

function showFigure(element, text) {
  setText(element, text);
  element.classList.toggle('empty-cell', text === '–'); // left out where space is scarce
}

function cell(label, className) {
  return h('td', { role: 'cell', 'data-label': label, class: className });
}
