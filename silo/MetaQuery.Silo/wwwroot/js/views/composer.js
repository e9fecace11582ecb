import { api } from '../api.js';
import { announce, fill, h, icon, setAttribute, setText } from '../dom.js';
import { onModel } from '../farm.js';
import { bytes, count, percent, plural } from '../format.js';
import { jobHash } from '../router.js';
import { errorBox, toast } from '../ui/notices.js';
import { isPicture, pictureInput } from './picture-input.js';
import { readDraft, saveDraft, settingsFields } from './settings.js';

const KINDS = /\.(txt|jsonl|ndjson|csv)$/i;
const MOST_IN_JSON = 5000; // more prompts than these go as a file
const EXAMPLES = ['a red apple, noto style', 'a sleeping cat, noto style', 'a blue sailing boat, noto style'];

/** The form that makes a job: prompts written down, one a line, or a file of them; with pictures where the model reads them. */
export function composer() {
  const draft = readDraft();
  const prompts = h('textarea', {
    id: 'prompts', name: 'prompts', rows: 5, spellcheck: 'true', placeholder: 'One prompt a line, for example:\na red apple, noto style', 'aria-describedby': 'prompts-help', value: draft.prompts ?? '',
  });
  const chooser = h('input', { type: 'file', id: 'prompt-file', class: 'visually-hidden', accept: '.txt,.jsonl,.ndjson,.csv,text/plain,text/csv' });
  const chip = h('div', { class: 'file-chip', hidden: true });
  const tally = h('p', { class: 'tally', id: 'tally' });
  const usage = h('p', { class: 'hint' });
  const problem = h('div');
  const submit = h('button', { type: 'submit', class: 'primary' }, icon('run'), h('span', null, 'Make pictures'));
  const settings = settingsFields(draft, changed);
  const pictures = pictureInput(changed);
  const drop = h('div', { class: 'drop' }, prompts, chip,
    h('p', { id: 'prompts-help', class: 'hint' }, h('label', { for: 'prompt-file', class: 'file-label' }, icon('upload'), 'Choose a file'), chooser, ' or drop one here: .txt, .jsonl or .csv'),
    pictures.element);
  const form = h('form', { class: 'composer', 'aria-labelledby': 'composer-title', novalidate: true, onsubmit: send },
    h('h2', { id: 'composer-title' }, 'New job'),
    h('label', { for: 'prompts', class: 'field-label' }, 'Prompts'),
    drop, settings.main, settings.more, problem,
    h('div', { class: 'submit-row' }, submit, tally), usage);

  let file = null;
  let idempotency = null; // { text, key }: the same content sent again is the same job
  let busy = false;

  prompts.addEventListener('input', changed);
  prompts.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  chooser.addEventListener('change', () => {
    take(chooser.files);
    chooser.value = '';
  });
  pictures.element.addEventListener('problem', (event) => (event.detail ? showProblem({ message: event.detail }, 'This picture cannot be used') : problem.replaceChildren()));
  setUpDrop(form, drop, takeDropped);
  const forget = onModel((model) => {
    settings.showModel(model);
    pictures.showModel(model);
    changed();
  });
  showUsage();
  changed();

  /** What is left of the quotas, where there are any. */
  async function showUsage() {
    try {
      const now = await api.usage();
      const said = [
        now.max_queued_images === null ? null : `${count(now.queued_images)} of ${plural(now.max_queued_images, 'picture')} queued`,
        now.images_per_day === null ? null : `${count(now.images_today)} of ${count(now.images_per_day)} today`,
      ];
      setText(usage, said.filter(Boolean).join(', '));
    } catch {
      // The queue beside this form says what is wrong.
    }
  }

  function lines() {
    return prompts.value.split(/\r?\n/).map((line) => line.trim()).filter(Boolean);
  }

  function changed() {
    saveDraft({ prompts: prompts.value, ...settings.draft() });
    const many = settings.imagesPerPrompt();
    const along = pictures.files.length;
    if (file) {
      tally.textContent = many === 1 ? 'One picture per line of the file' : `${plural(many, 'picture')} per line of the file`;
    } else {
      const written = lines().length;
      const asked = written === 0 && along > 0 ? `Made again, ${plural(many, 'time')}` : written === 0 ? '' : `${plural(written, 'prompt')}, ${plural(written * many, 'picture')}`;
      tally.textContent = along > 0 && written > 0 ? `${asked}, each from ${plural(along, 'picture')}` : asked;
    }
  }

  /** A prompt file, or pictures where the model reads them. */
  function takeDropped(files) {
    const dropped = [...files];
    if (pictures.element.hidden || !dropped.every(isPicture)) {
      take(files);
      return;
    }
    const wrong = pictures.add(dropped);
    if (wrong) showProblem({ message: wrong }, 'This picture cannot be used');
    else problem.replaceChildren();
  }

  async function take(files) {
    if (files.length === 0) return;
    if (files.length > 1 || !KINDS.test(files[0].name)) {
      const name = files.length > 1 ? `${files.length} files` : files[0].name;
      showProblem({ message: `A job takes one file that ends in .txt, .jsonl or .csv; this was ${name}.` }, 'This file cannot be used');
      return;
    }
    file = files[0];
    problem.replaceChildren();
    let first = '';
    try {
      first = (await file.slice(0, 4096).text()).split('\n').slice(0, 3).join('\n');
    } catch {
      first = '(cannot be read)';
    }
    const remove = h('button', { type: 'button', class: 'quiet', 'aria-label': `Remove ${file.name}`, title: 'Remove the file', onclick: removeFile }, icon('close'));
    fill(chip, h('div', { class: 'file-name' }, icon('file'), h('strong', null, file.name), h('span', { class: 'hint' }, bytes(file.size)), remove), h('pre', null, first));
    chip.hidden = false;
    prompts.hidden = true;
    settings.showFile(true);
    changed();
    announce(`${file.name} chosen, ${bytes(file.size)}`);
    remove.focus();
  }

  function removeFile() {
    file = null;
    chip.hidden = true;
    prompts.hidden = false;
    settings.showFile(false);
    changed();
    prompts.focus();
  }

  function showProblem(error, title) {
    fill(problem, errorBox(error, { title }));
  }

  /** What goes up as a file: the one that was chosen, or what was written where it is long or about pictures. */
  function uploadOf(written, along) {
    if (file) return file;
    if (along.length > 0) {
      const names = along.map((_, place) => nameOf(place));
      const about = (written.length > 0 ? written : ['']).map((prompt) => JSON.stringify({ prompt, images: names }));
      return new File([about.join('\n')], 'prompts.jsonl', { lastModified: 0 });
    }
    return written.length > MOST_IN_JSON ? new File([written.join('\n')], 'prompts.txt', { lastModified: 0 }) : null;
  }

  function keyFor(text) {
    if (idempotency?.text !== text) idempotency = { text, key: crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random()}` };
    return idempotency.key;
  }

  async function send(event) {
    event.preventDefault();
    if (busy) return;
    problem.replaceChildren();
    const wrong = settings.check() ?? (!file && lines().length === 0 && pictures.files.length === 0 ? { field: prompts, message: 'Write a prompt, or choose a file of prompts.' } : null);
    if (wrong) {
      mark(wrong.field, wrong.message);
      return;
    }
    busy = true;
    submit.setAttribute('aria-disabled', 'true');
    const label = submit.querySelector('span');
    label.textContent = 'Sending…';
    try {
      const written = lines();
      const along = pictures.files;
      const upload = uploadOf(written, along);
      const body = settings.body(upload ? {} : { prompts: written }, upload);
      const job = upload
        ? await api.submitFile(upload, body, keyFor([upload, ...along].map((each) => `${each.name} ${each.size} ${each.lastModified} `).join('') + body + (file ? '' : written.join('\n'))),
          along.map((picture, place) => ({ name: file ? picture.name : nameOf(place), file: picture })), (share) => (label.textContent = `Sending… ${percent(share)}`))
        : await api.submit(body, keyFor(body));
      idempotency = null;
      prompts.value = '';
      pictures.clear();
      toast(`Submitted: ${job.name || job.id}`);
      location.hash = jobHash(job.id);
    } catch (error) {
      const field = error.param ? (error.param.startsWith('prompts') ? prompts : settings.field(error.param)) : null;
      if (field && !field.hidden) mark(field, error.message);
      else showProblem(error, 'The job was not accepted');
    } finally {
      busy = false;
      submit.removeAttribute('aria-disabled');
      label.textContent = 'Make pictures';
    }
  }

  return {
    element: form,
    close() {
      forget();
      pictures.clear();
    },
    /** For a newcomer: puts examples where prompts go. */
    showExamples() {
      prompts.value = EXAMPLES.join('\n');
      changed();
      prompts.focus();
    },
  };
}

// Of what was written, every line is about all pictures: their own names, two of which may be alike, do not matter.
const nameOf = (place) => `picture ${place + 1}`;

/** Says what is wrong beside the field, until it is changed. */
function mark(field, message) {
  const name = `${field.id}-error`;
  document.getElementById(name)?.remove();
  field.closest('details')?.setAttribute('open', '');
  field.after(h('span', { class: 'field-error', id: name }, icon('failed'), h('span', null, message)));
  const described = (field.dataset.described ??= field.getAttribute('aria-describedby') ?? '');
  field.setAttribute('aria-invalid', 'true');
  setAttribute(field, 'aria-describedby', described ? `${name} ${described}` : name);
  field.focus();
  announce(message, { urgent: true });
  field.addEventListener('input', () => {
    document.getElementById(name)?.remove();
    field.removeAttribute('aria-invalid');
    setAttribute(field, 'aria-describedby', described || null);
  }, { once: true });
}

const hasFiles = (event) => event.dataTransfer?.types.includes('Files');

// A file that misses its place must not take the page's.
for (const type of ['dragover', 'drop']) window.addEventListener(type, (event) => hasFiles(event) && event.preventDefault());

function setUpDrop(zone, mark, take) {
  let depth = 0;
  zone.addEventListener('dragenter', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth++;
    mark.classList.add('over');
  });
  zone.addEventListener('dragover', (event) => hasFiles(event) && event.preventDefault());
  zone.addEventListener('dragleave', () => {
    depth = Math.max(0, depth - 1);
    if (depth === 0) mark.classList.remove('over');
  });
  zone.addEventListener('drop', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    mark.classList.remove('over');
    take(event.dataTransfer.files);
  });
}
