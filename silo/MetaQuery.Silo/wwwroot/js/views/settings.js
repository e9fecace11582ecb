import { h } from '../dom.js';
import { writeJson } from '../json.js';

const DRAFT = 'metaquery.draft';
const MAX_SEED = 18446744073709551615n;

// Every setting of a job: what is left empty takes the model's default.
const FIELDS = [
  { name: 'size', label: 'Size', placeholder: 'auto', pattern: /^(auto|\d{1,5}x\d{1,5})$/, wrong: 'Size is WIDTHxHEIGHT in pixels, such as 512x512, or auto.' },
  { name: 'steps', label: 'Steps', kind: 'whole', least: 1, most: 1000 },
  { name: 'guidance', label: 'Guidance', kind: 'number', least: 0, most: 100, step: 'any' },
  { name: 'seed', label: 'Seed', placeholder: '0', kind: 'digits', hint: 'The same seed gives the same pictures.' },
  { name: 'image_guidance', label: 'Image guidance', kind: 'number', least: 0, most: 100, placeholder: '1.5', wide: true, forPictures: true, hint: 'How much given pictures guide; 3 without a prompt.' },
  { name: 'negative_prompt', label: 'Negative prompt', wide: true, hint: 'What the pictures should not show.' },
  { name: 'format', label: 'Format', choices: ['png', 'jpg', 'webp'] },
  { name: 'quality', label: 'Quality', kind: 'whole', least: 1, most: 100, placeholder: '95', hint: 'Of jpg and webp.' },
  { name: 'priority', label: 'Priority', choices: ['bulk', 'interactive'], hint: 'Interactive jobs go first.' },
  { name: 'samples_per_shard', label: 'Pictures per shard', kind: 'whole', least: 1, most: 10_000_000, placeholder: '10000' },
];

export function readDraft() {
  try {
    return JSON.parse(sessionStorage.getItem(DRAFT) ?? '{}') ?? {};
  } catch {
    return {};
  }
}

export function saveDraft(draft) {
  try {
    sessionStorage.setItem(DRAFT, JSON.stringify(draft));
  } catch {
    // Too long for the storage, or none: a reload then forgets what was written.
  }
}

/** The fields of a job beside its prompts. */
export function settingsFields(draft, changed) {
  const inputs = {
    name: h('input', { id: 'set-name', maxlength: 200, value: draft.name ?? '', placeholder: 'to find it again' }),
    images_per_prompt: h('input', { id: 'set-images_per_prompt', type: 'number', min: 1, max: 100_000, step: 1, inputmode: 'numeric', value: draft.images_per_prompt ?? '1' }),
    skip_invalid: h('input', { id: 'set-skip_invalid', type: 'checkbox' }),
  };
  for (const field of FIELDS) inputs[field.name] = input(field, draft[field.name]);
  for (const each of Object.values(inputs)) each.addEventListener('input', changed);

  const skip = h('div', { class: 'field check wide', hidden: true }, inputs.skip_invalid, h('label', { for: 'set-skip_invalid' }, 'Skip bad lines of the file and list them'));
  const limits = h('p', { class: 'hint wide' });
  const main = h('div', { class: 'fields' },
    labelled('images_per_prompt', 'Pictures per prompt', inputs.images_per_prompt),
    labelled('name', 'Name (optional)', inputs.name),
    skip);
  const more = h('details', { class: 'settings', open: FIELDS.some((field) => draft[field.name] && draft[field.name] !== field.choices?.[0]) },
    h('summary', null, 'Settings'),
    h('div', { class: 'fields' }, FIELDS.map((field) => labelled(field.name, field.label, inputs[field.name], field)), limits));
  showForPictures(false);

  function showForPictures(there) {
    for (const field of FIELDS) if (field.forPictures) inputs[field.name].closest('.field').hidden = !there;
  }

  const value = (name) => inputs[name].value.trim();
  return {
    main,
    more,
    field: (name) => inputs[name] ?? null,
    imagesPerPrompt: () => Math.max(1, Number.parseInt(value('images_per_prompt'), 10) || 1),
    draft: () => Object.fromEntries(['name', 'images_per_prompt', ...FIELDS.map((field) => field.name)].map((name) => [name, inputs[name].value])),
    showFile(there) {
      skip.hidden = !there;
    },
    showModel(model) {
      if (!model) return;
      showForPictures(model.reads_pictures);
      inputs.size.placeholder = `auto: ${model.default_size}`;
      inputs.steps.placeholder = String(model.default_steps);
      inputs.guidance.placeholder = String(model.default_guidance);
      limits.textContent = `${model.id} makes pictures of ${model.min_size} to ${model.max_size} pixels a side, in multiples of ${model.size_multiple}.`;
    },
    /** What is wrong, or null: { field, message }. The farm checks everything again. */
    check() {
      const images = value('images_per_prompt');
      if (!/^\d+$/.test(images) || Number(images) < 1 || Number(images) > 100_000) {
        return { field: inputs.images_per_prompt, message: 'Pictures per prompt: a whole number from 1 to 100,000.' };
      }
      for (const field of FIELDS) {
        const message = problemOf(field, value(field.name));
        if (message) return { field: inputs[field.name], message };
      }
      return null;
    },
    /** The job as JSON text. */
    body(prompts, file) {
      const job = { ...prompts, images_per_prompt: Number(value('images_per_prompt')) };
      const name = value('name') || (file?.lastModified ? file.name.replace(/\p{C}/gu, '').slice(0, 200) : '');
      if (name) job.name = name;
      if (file && inputs.skip_invalid.checked) job.skip_invalid = true;
      for (const { name, kind, choices } of FIELDS) {
        const text = inputs[name].closest('.field').hidden ? '' : value(name);
        if (text === '' || kind === 'digits' || (choices && text === choices[0]) || (name === 'quality' && value('format') === 'png')) continue;
        job[name] = kind === 'whole' || kind === 'number' ? Number(text) : text;
      }
      return writeJson(job, value('seed') ? { seed: value('seed') } : {});
    },
  };
}

function problemOf(field, text) {
  if (text === '') return null;
  if (field.pattern && !field.pattern.test(text)) return field.wrong;
  if (field.kind === 'digits') {
    return /^\d{1,20}$/.test(text) && BigInt(text) <= MAX_SEED ? null : `Seed: a whole number from 0 to ${MAX_SEED}.`;
  }
  if (field.kind === 'whole' || field.kind === 'number') {
    const number = Number(text);
    const fits = number >= field.least && number <= field.most && (field.kind === 'number' || Number.isInteger(number));
    return fits ? null : `${field.label}: a ${field.kind === 'whole' ? 'whole ' : ''}number from ${field.least} to ${field.most}.`;
  }
  return null;
}

function input(field, value) {
  const id = `set-${field.name}`;
  const described = field.hint ? `${id}-hint` : null;
  if (field.choices) {
    const select = h('select', { id, 'aria-describedby': described }, field.choices.map((choice) => h('option', { value: choice }, choice)));
    select.value = field.choices.includes(value) ? value : field.choices[0];
    return select;
  }
  return h('input', {
    id, value: value ?? '', placeholder: field.placeholder ?? (field.name === 'negative_prompt' ? null : 'model’s own'), 'aria-describedby': described, autocomplete: 'off',
    inputmode: field.kind === 'number' ? 'decimal' : field.kind ? 'numeric' : null,
  });
}

function labelled(name, label, element, { hint = null, wide = false } = {}) {
  return h('div', { class: wide ? 'field wide' : 'field' },
    h('label', { for: `set-${name}` }, label), element, hint && h('span', { class: 'hint', id: `set-${name}-hint` }, hint));
}
