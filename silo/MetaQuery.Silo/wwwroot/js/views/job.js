import { api, setKey } from '../api.js';
import { announce, fill, focusHeading, h, icon, setAttribute, setText } from '../dom.js';
import { follow } from '../events.js';
import { count, duration, moment, percent, rate, words } from '../format.js';
import { jobHash, jobsHash } from '../router.js';
import { actionButtons } from '../ui/actions.js';
import { askForKey } from '../ui/dialog.js';
import { isFinal, jobTitle, parts, progressBar, progressText, stateBadge } from '../ui/job-parts.js';
import { emptyState, errorBox, loading } from '../ui/notices.js';
import { detailsSection } from './details.js';
import { failuresSection } from './failures.js';
import { filesSection } from './files.js';
import { gallerySection } from './gallery.js';
import { sampleDialog } from './sample.js';

const GLANCE_MS = 10_000;
const SECTIONS = { pictures: ['Pictures', gallerySection], failures: ['Failures', failuresSection], files: ['Files', filesSection], details: ['Details', detailsSection] };

/** One job: its progress live, and its pictures, failures, files and settings. */
export function jobView(root, route) {
  const id = route.job;
  let place = route;
  let job = null;
  let stop = null;
  let section = null; // { name, update(job), newSamples(positions), turn(route), close() }
  let glance = null;
  let told = { state: null, quarter: null };
  document.title = `${id} – MetaQuery.Farm`;

  const title = h('h1', null, id);
  const about = h('p', { class: 'about' });
  const state = stateBadge();
  const link = h('span', { class: 'link-state' });
  const reason = h('p', { class: 'reason', hidden: true });
  const bar = progressBar({ legend: true });
  const speed = h('dd', null, '–');
  const left = h('dd', null, '–');
  const done = h('dd', null, '–');
  const leftLabel = h('dt', null, 'Time left');
  const problem = h('div', null, loading());
  const actions = actionButtons({
    onDone(command, after) {
      if (command === 'delete') location.hash = jobsHash();
      else {
        problem.replaceChildren();
        show(after);
        if (link.dataset.status !== 'live') watch(); // the stream had ended with the job
      }
    },
    onError: (error, what) => fill(problem, errorBox(error, { title: `${what} did not work` })),
  });
  const nav = h('nav', { class: 'sections', 'aria-label': 'Parts of the job' });
  const content = h('div', { class: 'section-content' });
  const head = h('div', { class: 'job-head', hidden: true },
    h('div', { class: 'job-title' }, h('div', null, title, about), actions.element),
    h('div', { class: 'job-now' }, state.element,
      h('dl', { class: 'speeds' }, h('div', null, h('dt', null, 'Done'), done), h('div', null, h('dt', null, 'Pictures/s'), speed), h('div', null, leftLabel, left)), link),
    reason, bar.element);
  fill(root, h('p', { class: 'crumb' }, h('a', { href: jobsHash() }, icon('left'), 'Jobs')), problem, head, nav, content);
  const samples = sampleDialog(id, { page: () => place.params.get('page'), job: () => job });

  document.addEventListener('visibilitychange', onVisibility);
  begin();

  async function begin() {
    try {
      show(await api.job(id));
    } catch (error) {
      if (error.isMissing) {
        fill(problem, h('h1', { class: 'visually-hidden' }, id), emptyState('There is no such job', h('p', null, 'It was deleted, its time was over, or it belongs to somebody else.'), h('p', null, h('a', { href: jobsHash() }, 'To the jobs'))));
      } else {
        fill(problem, errorBox(error, { title: 'The job cannot be shown', again: error.status === 401 ? enterKey : begin, action: error.status === 401 ? 'Enter an API key' : 'Try again' }));
      }
      return;
    }
    problem.replaceChildren();
    if (document.activeElement === root) focusHeading();
    showSection();
    samples.show(place.sample);
    watch();
  }

  // A browser opens few connections to one server: a tab that nobody sees leaves its stream to others and looks now and then, for its title.
  function onVisibility() {
    if (!job) return;
    clearInterval(glance);
    if (!document.hidden) {
      watch();
      return;
    }
    stop?.();
    if (!isFinal(job.state)) glance = setInterval(() => api.job(id).then(show, () => {}), GLANCE_MS); // what fails now is seen when somebody looks
  }

  async function enterKey() {
    const value = await askForKey({ refused: false });
    if (value) setKey(value);
  }

  function watch() {
    stop?.();
    stop = follow(api.eventsPath(id), {
      onEvent(event) {
        if (event.job) show(event.job);
        if (event.type === 'samples' || event.samples?.length > 0) section?.newSamples?.(event.samples ?? []);
        if (event.type === 'snapshot') section?.refresh?.();
      },
      onStatus: showLink,
      isOver: () => isFinal(job.state),
    });
  }

  function showLink(status, detail) {
    link.dataset.status = status;
    const text = {
      live: 'Live', ended: '', waiting: `Connection lost, trying again${detail > 1 ? ` (${detail})` : ''}…`, failed: detail?.message,
    }[status];
    setText(link, text ?? '');
    if (status === 'failed') fill(problem, errorBox(detail, { title: 'The job cannot be watched', again: watch }));
    if (status === 'waiting' && detail === 2) announce('Connection to the farm lost, trying again');
  }

  function show(next) {
    const before = job?.state;
    job = next;
    const over = isFinal(job.state);
    const share = parts(job.counts);
    head.hidden = false;
    setText(title, jobTitle(job));
    document.title = `${over ? '' : `${share.images > 0 ? percent((share.written + share.failed) / share.images) : '0 %'} · `}${jobTitle(job)} – MetaQuery.Farm`;
    setText(about, [job.name ? job.id : null, `${words(job.priority)} priority`, job.tenant === 'local' ? null : job.tenant, `submitted ${moment(job.created_at)}`].filter(Boolean).join(' · '));
    state.update(job.state);
    setText(reason, job.reason ?? '');
    setAttribute(reason, 'hidden', job.reason ? null : '');
    bar.update(job);
    setText(done, share.images > 0 ? percent((share.written + share.failed) / share.images) : '0 %');
    const took = over && job.started_at && job.finished_at ? (Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000 : null;
    const pace = took > 0 ? share.written / took : over ? 0 : job.images_per_second;
    setText(speed, pace > 0 ? rate(pace) : '–');
    setText(leftLabel, over ? 'Took' : 'Time left');
    setText(left, over ? duration(took) : duration(job.seconds_left));
    actions.update(job);
    section?.update?.(job, before);
    showNav();
    tell();
  }

  /** For screen readers: each new state, and each quarter of the way. */
  function tell() {
    const share = parts(job.counts);
    const quarter = share.images > 0 ? Math.floor((4 * (share.written + share.failed)) / share.images) : 0;
    if (told.state !== null && told.state !== job.state) announce(`${words(job.state)}: ${progressText(job)}`);
    else if (told.quarter !== null && quarter > told.quarter && quarter < 4) announce(progressText(job));
    told = { state: job.state, quarter };
  }

  function showNav() {
    const links = nav.childElementCount > 0 ? [...nav.children] : Object.entries(SECTIONS).map(([name, [label]]) =>
      h('a', { href: jobHash(id, name), dataset: { section: name } }, h('span', null, label), h('span', { class: 'badge', hidden: true })));
    if (nav.childElementCount === 0) nav.append(...links);
    for (const each of links) {
      setAttribute(each, 'aria-current', each.dataset.section === place.section ? 'true' : null);
      const badge = each.querySelector('.badge');
      const number = each.dataset.section === 'failures' ? job.counts.failed : each.dataset.section === 'pictures' ? job.counts.written : 0;
      setText(badge, number > 0 ? count(number) : '');
      badge.hidden = !(number > 0);
    }
  }

  function showSection() {
    if (section?.name === place.section) {
      section.turn?.(place);
      return;
    }
    section?.close?.();
    content.replaceChildren();
    section = { name: place.section, ...SECTIONS[place.section][1](content, id, { job: () => job, place }) };
    section.update?.(job);
  }

  return {
    update(now) {
      place = now;
      if (!job) return;
      showNav();
      showSection();
      samples.show(place.sample);
    },
    close() {
      document.removeEventListener('visibilitychange', onVisibility);
      clearInterval(glance);
      stop?.();
      section?.close?.();
      samples.close();
    },
  };
}
