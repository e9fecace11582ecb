import { api } from '../api.js';
import { announce, fill, h, icon, setAttribute } from '../dom.js';
import { count } from '../format.js';
import { jsonText } from '../json.js';
import { jobHash, parse, replacePlace, sampleHash } from '../router.js';
import { copyButton } from '../ui/copy.js';
import { parts } from '../ui/job-parts.js';
import { errorBox, toast } from '../ui/notices.js';
import { download, showPicture } from '../ui/pictures.js';
import { knownSample, neighbour, pageOf, remember } from './samples.js';

// A sample's JSON by the names of docs/data.md; whatever else the prompt file brought along follows.
const ROWS = [
  ['prompt', 'Prompt', 'text'], ['negative_prompt', 'Negative prompt', 'text'], ['seed', 'Seed', 'copy'], ['steps', 'Steps'], ['guidance', 'Guidance'], ['images', 'From picture', 'copy'],
  ['image_guidance', 'Image guidance'], ['size', 'Size'],
  ['model', 'Model'], ['model_revision', 'Revision', 'copy'], ['key', 'Sample key', 'copy'], ['id', 'Id', 'copy'], ['prompt_index', 'Prompt no.'], ['sample_index', 'Picture no.'],
  ['sha256', 'SHA-256', 'copy'],
];

/** The dialog that shows one picture with its provenance. Which one, the address says. */
export function sampleDialog(id, { job }) {
  let dialog = null;
  let position = null;
  let sample = null;
  let before = null;
  let resized = null;
  const parts_ = {};

  function open() {
    before = document.activeElement;
    parts_.title = h('h2', { id: 'sample-title', tabindex: -1 });
    parts_.image = h('img', { alt: '' });
    parts_.facts = h('dl', { class: 'facts' });
    parts_.problem = h('div');
    parts_.previous = h('button', { type: 'button', class: 'turn', 'aria-label': 'Previous picture', 'aria-keyshortcuts': 'ArrowLeft', title: 'Previous (←)', onclick: () => turn(-1) }, icon('left'));
    parts_.next = h('button', { type: 'button', class: 'turn', 'aria-label': 'Next picture', 'aria-keyshortcuts': 'ArrowRight', title: 'Next (→)', onclick: () => turn(1) }, icon('right'));
    parts_.image.addEventListener('load', fit);
    parts_.image.addEventListener('error', () => parts_.image.onerror === null && fill(parts_.problem, errorBox({ message: 'The picture’s file could not be read.' }, { title: 'No picture' })));
    dialog = h('dialog', { class: 'sample', 'aria-labelledby': 'sample-title' },
      h('div', { class: 'sample-head' }, parts_.title,
        h('button', { type: 'button', class: 'quiet', 'aria-label': 'Close', title: 'Close (Esc)', onclick: () => dialog.close() }, icon('close'))),
      h('div', { class: 'sample-body' },
        h('figure', null, parts_.previous, h('div', { class: 'frame' }, parts_.image), parts_.next),
        h('div', { class: 'provenance' }, parts_.problem, parts_.facts,
          parts_.buttons = h('div', { class: 'sample-buttons' },
            h('button', { type: 'button', onclick: save }, icon('download'), h('span', null, 'Download')),
            copyButton('Copy as JSON', () => jsonText(sample?.metadata ?? {}), { withText: true })))));
    dialog.addEventListener('keydown', (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.key === 'ArrowLeft') turn(-1);
      else if (event.key === 'ArrowRight') turn(1);
      else return;
      event.preventDefault();
    });
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
    resized = new ResizeObserver(fit);
    resized.observe(parts_.image.parentElement);
    dialog.addEventListener('close', closed);
    document.body.append(dialog);
    dialog.showModal();
    parts_.title.focus();
  }

  function closed() {
    resized.disconnect();
    if (!dialog) return;
    dialog.remove();
    dialog = null;
    const last = position;
    position = null;
    // Closed because the address went elsewhere: then that is where to be.
    if (parse(location.hash).sample === last) replacePlace(jobHash(id, 'pictures', { page: pageOf(last) }));
    (document.querySelector(`.cell[data-position="${last}"] a`) ?? (before?.isConnected ? before : document.querySelector('h1')))?.focus();
  }

  async function show(wanted) {
    if (wanted === null) {
      if (dialog) dialog.close();
      return;
    }
    if (wanted === position) return;
    position = wanted;
    if (!dialog) open();
    try {
      const found = knownSample(id, wanted) ?? (await api.sample(id, wanted));
      remember(id, found);
      if (position === wanted && dialog) draw(found);
    } catch (error) {
      if (position !== wanted || !dialog) return;
      fill(parts_.title, `Picture ${count(wanted + 1)}`);
      parts_.image.hidden = parts_.buttons.hidden = true;
      fill(parts_.problem, errorBox(error.isMissing ? { message: 'It is not made yet, or was given up.' } : error, { title: 'No such picture' }));
      parts_.facts.replaceChildren();
    }
  }

  /** A small picture is shown as it is: enlarged by a whole number, its pixels left square. */
  function fit() {
    const { image } = parts_;
    if (!(image.naturalWidth > 0)) return;
    const frame = image.parentElement;
    const times = Math.floor(Math.min(frame.clientWidth / image.naturalWidth, frame.clientHeight / image.naturalHeight));
    const isSmall = image.naturalWidth <= 128 && times >= 1;
    image.classList.toggle('pixels', isSmall);
    image.style.setProperty('width', isSmall ? `${times * image.naturalWidth}px` : '');
    image.style.setProperty('height', isSmall ? `${times * image.naturalHeight}px` : '');
  }

  function draw(found) {
    sample = found;
    const total = parts(job().counts).images;
    fill(parts_.title, `Picture ${count(found.position + 1)} of ${count(total)}`);
    parts_.problem.replaceChildren();
    parts_.image.hidden = parts_.buttons.hidden = false;
    parts_.image.alt = found.prompt;
    showPicture(parts_.image, id, found);
    fill(parts_.facts, facts(found).map(([label, text, kind]) =>
      h('div', { class: kind === 'text' ? 'fact wide' : 'fact' }, h('dt', null, label),
        h('dd', { class: kind === 'copy' ? 'mono' : null }, h('span', null, text), (kind === 'copy' || kind === 'text') && copyButton(`Copy ${label.toLowerCase()}`, () => text)))));
    setAttribute(parts_.previous, 'aria-disabled', found.position === 0 ? 'true' : null);
    setAttribute(parts_.next, 'aria-disabled', found.position + 1 >= total ? 'true' : null);
  }

  async function turn(step) {
    if (position === null) return;
    const from = position;
    try {
      const found = await neighbour(id, from, step);
      if (position !== from || !dialog) return;
      if (!found) {
        announce(step > 0 ? 'This is the last picture made so far' : 'This is the first picture');
        setAttribute(step > 0 ? parts_.next : parts_.previous, 'aria-disabled', 'true');
        return;
      }
      replacePlace(sampleHash(id, found.position, pageOf(found.position)));
      announce(`Picture ${found.position + 1}: ${found.prompt}`);
    } catch (error) {
      fill(parts_.problem, errorBox(error, { title: 'The next picture cannot be shown' }));
    }
  }

  async function save() {
    if (!sample) return;
    try {
      sample = await api.sample(id, sample.position); // with an address that was signed just now
      download(sample.image_url, `${sample.key}.${job().settings.format}`);
    } catch (error) {
      toast(error.message);
    }
  }

  return {
    show,
    close() {
      if (!dialog) return;
      const open_ = dialog;
      dialog = null; // the place has changed already
      open_.close();
      open_.remove();
    },
  };
}

function facts({ prompt, sample_index, key, metadata }) {
  const all = { prompt, key, sample_index, ...metadata };
  if (all.width && all.height) all.size = `${all.width} × ${all.height}`;
  delete all.width;
  delete all.height;
  if (Array.isArray(all.images)) all.images = all.images.join(' '); // the input pictures' hashes
  if (all.negative_prompt === '') delete all.negative_prompt;
  for (const name of ['prompt_index', 'sample_index']) if (Number.isInteger(all[name])) all[name] = `${count(all[name] + 1)}`;
  const rows = [];
  for (const [name, label, kind] of ROWS) {
    if (all[name] !== undefined && all[name] !== null) rows.push([label, String(all[name]), kind]);
    delete all[name];
  }
  for (const [name, value] of Object.entries(all)) rows.push([name, typeof value === 'string' ? value : JSON.stringify(value), null]);
  return rows;
}
