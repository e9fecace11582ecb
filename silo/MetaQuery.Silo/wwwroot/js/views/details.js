import { fill, h, icon } from '../dom.js';
import { count, duration, moment, words } from '../format.js';
import { jobsHash } from '../router.js';
import { copyButton } from '../ui/copy.js';
import { readDraft, saveDraft } from './settings.js';

const SETTINGS = [
  ['size', 'Size'], ['steps', 'Steps'], ['guidance', 'Guidance'], ['image_guidance', 'Image guidance'], ['negative_prompt', 'Negative prompt'], ['seed', 'Seed'], ['images_per_prompt', 'Pictures per prompt'],
  ['samples_per_shard', 'Pictures per shard'], ['format', 'Format'], ['quality', 'Quality'], ['batch_size', 'Batch size'],
];

/** What the job is: its settings with all defaults filled in, its times, the lines passed over. */
export function detailsSection(root) {
  let shown = null;
  return {
    update(job) {
      const text = JSON.stringify([job.settings, job.numerics, job.state, job.started_at, job.finished_at, job.counts.prompts, job.skipped_lines?.length]);
      if (text === shown) return;
      shown = text;
      const settings = { ...job.settings };
      if (settings.format === 'png') delete settings.quality;
      fill(root, h('div', { class: 'details' },
        block('Settings', SETTINGS.map(([name, label]) => [label, settings[name]])),
        block('Job', [
          ['Id', job.id, true], ['Name', job.name], ['Tenant', job.tenant], ['Priority', words(job.priority)], ['Prompts', count(job.counts.prompts)], ['Pictures', count(job.counts.images)],
          ['Numerics', job.numerics, true],
        ]),
        block('Times', [
          ['Submitted', moment(job.created_at)], ['Started', job.started_at && moment(job.started_at)], ['Finished', job.finished_at && moment(job.finished_at)],
          ['Took', job.started_at && job.finished_at && duration((Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000)],
          ['Kept until', job.expires_at && moment(job.expires_at)],
        ]),
        h('p', null, h('button', { type: 'button', onclick: () => again(job) }, icon('plus'), 'Use these settings for a new job')),
        job.skipped_lines?.length > 0 && h('section', null, h('h2', null, 'Skipped lines'), h('ul', { class: 'skipped' }, job.skipped_lines.map((line) => h('li', null, line))))));
    },
    close() {},
  };
}

function again(job) {
  const settings = Object.fromEntries(Object.entries({ ...job.settings, priority: job.priority }).map(([name, value]) => [name, String(value)]));
  saveDraft({ ...readDraft(), ...settings });
  location.hash = jobsHash();
}

function block(title, rows) {
  const there = rows.filter(([, value]) => value !== null && value !== undefined && value !== '');
  return h('section', null, h('h2', null, title), h('dl', { class: 'facts' }, there.map(([label, value, copy]) =>
    h('div', { class: 'fact' }, h('dt', null, label), h('dd', { class: copy ? 'mono' : null }, h('span', null, String(value)), copy && copyButton(`Copy ${label.toLowerCase()}`, () => String(value)))))));
}
