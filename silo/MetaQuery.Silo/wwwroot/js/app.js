import { key, onKeyNeeded, setKey } from './api.js';
import { fill, focusHeading, h, icon } from './dom.js';
import { loadModel } from './farm.js';
import { parse } from './router.js';
import { askForKey } from './ui/dialog.js';
import { emptyState, notice } from './ui/notices.js';
import { jobView } from './views/job.js';
import { jobsView } from './views/jobs.js';
import { workersView } from './views/workers.js';

const main = document.getElementById('main');
const VIEWS = { jobs: jobsView, workers: workersView, job: jobView, missing: missingView };
let open = null; // { name, update(route), close() }

function nameOf(route) {
  return route.view === 'job' ? `job ${route.job}` : route.view;
}

/** Shows the place that the address names. A view that can go there itself is asked to; another one is built anew and gets the focus. */
function go({ anew = false } = {}) {
  const route = parse(location.hash);
  if (open && !anew && open.name === nameOf(route)) {
    open.update(route);
    return;
  }
  const first = open === null;
  open?.close();
  main.replaceChildren();
  open = { name: nameOf(route), ...VIEWS[route.view](main, route) };
  for (const link of document.querySelectorAll('[data-nav]')) {
    const here = link.dataset.nav === (route.view === 'job' ? 'jobs' : route.view);
    if (here) link.setAttribute('aria-current', route.view === 'job' ? 'true' : 'page');
    else link.removeAttribute('aria-current');
  }
  if (!first && !anew) {
    window.scrollTo(0, 0);
    focusHeading();
  }
}

function missingView(root) {
  document.title = 'Not found – MetaQuery.Farm';
  fill(root, h('h1', null, 'Nothing here'), emptyState('There is no such place in this page', h('p', null, h('a', { href: '#/' }, 'To the jobs'))));
  return { update() {}, close() {} };
}

function setUpTheme() {
  const button = document.getElementById('theme-button');
  const show = () => {
    const other = window.metaqueryTheme.current() === 'dark' ? 'light' : 'dark';
    button.setAttribute('aria-label', `Switch to the ${other} theme`);
    button.title = `Switch to the ${other} theme`;
    fill(button, icon(other === 'dark' ? 'moon' : 'sun'));
  };
  button.addEventListener('click', () => window.metaqueryTheme.toggle());
  window.addEventListener('themechange', show);
  show();
}

function setUpKey() {
  const button = document.getElementById('key-button');
  const show = () => {
    button.title = key() ? 'Change the API key' : 'Enter an API key';
    fill(button, icon('key'), h('span', { class: 'wide-only' }, key() ? 'Key in use' : 'API key'));
    button.setAttribute('aria-label', key() ? 'API key in use: change it' : 'Enter an API key');
  };
  onKeyNeeded(askForKey);
  button.addEventListener('click', async () => {
    const value = await askForKey({ refused: false });
    if (value) setKey(value);
  });
  window.addEventListener('keychange', (event) => {
    show();
    loadFarm();
    if (!event.detail.answered) go({ anew: true });
  });
  show();
}

/** What the header says of the farm: its model, and whether it can work. */
async function loadFarm() {
  try {
    const model = await loadModel();
    const label = document.getElementById('model');
    label.hidden = !model;
    label.textContent = model?.id ?? '';
    label.title = 'The model that this farm makes pictures with';
  } catch {
    // The views say what is wrong; the header then simply names no model.
  }
}

async function checkReadiness() {
  if (!document.hidden) {
    try {
      const response = await fetch('/readyz', { cache: 'no-store' });
      notice('reach', null);
      notice('ready', response.ok ? null : `The farm takes jobs but cannot work on them now: ${await reasonOf(response)}`);
    } catch {
      notice('reach', 'The farm cannot be reached. This page goes on by itself when it is back.');
    }
  }
  setTimeout(checkReadiness, 5000);
}

async function reasonOf(response) {
  const text = (await response.text()).trim();
  try {
    const body = JSON.parse(text);
    return body.reason ?? body.error?.message ?? body.status ?? text;
  } catch {
    return text || `status ${response.status}`;
  }
}

document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault(); // the hash is the place in the page
  main.focus();
});
window.addEventListener('hashchange', () => go());
setUpTheme();
setUpKey();
loadFarm();
checkReadiness();
go();
