import { api } from '../api.js';
import { fill, h } from '../dom.js';
import { count, plural } from '../format.js';
import { emptyState, errorBox } from '../ui/notices.js';

const SHOWN = 500;
const EVERY_MS = 1500; // a job that fails fast is not asked after every failure

/** Pictures given up, gathered by their reason. */
export function failuresSection(root, id, { job }) {
  let shown = null;
  let shownOnce = false;
  let timer = null;
  const stop = new AbortController();

  async function load() {
    timer = null;
    shownOnce = true;
    try {
      const failures = (await api.failures(id, stop.signal)).data;
      const reasons = Map.groupBy ? Map.groupBy(failures, (one) => one.reason) : group(failures);
      fill(root, h('p', { class: 'hint' }, failures.length < job().counts.failed ? `The first ${count(failures.length)} of ${plural(job().counts.failed, 'failure')}; the shards’ _failed.jsonl files have all.` : `A picture is given up after three errors. “Retry failed” tries these again, each alone.`),
        [...reasons].sort((a, b) => b[1].length - a[1].length).map(([reason, list]) => reasonBlock(reason, list)));
    } catch (error) {
      if (!stop.signal.aborted) fill(root, errorBox(error, { title: 'The failures cannot be shown', again: load }));
    }
  }

  return {
    update(next) {
      if (next.counts.failed === shown) return;
      shown = next.counts.failed;
      if (shown === 0) fill(root, emptyState('No failures', h('p', null, 'A picture that cannot be made is listed here with its reason; the job goes on without it.')));
      else timer ??= setTimeout(load, shownOnce ? EVERY_MS : 0);
    },
    close() {
      stop.abort();
      clearTimeout(timer);
    },
  };
}

function group(failures) {
  const reasons = new Map();
  for (const one of failures) reasons.set(one.reason, [...(reasons.get(one.reason) ?? []), one]);
  return reasons;
}

function reasonBlock(reason, list) {
  return h('section', { class: 'reason-block' }, h('h2', null, reason), h('p', { class: 'hint' }, plural(list.length, 'picture')),
    h('table', { class: 'plain' },
      h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'Sample'), h('th', { scope: 'col' }, 'Prompt'), h('th', { scope: 'col', class: 'number' }, 'Picture no.'))),
      h('tbody', null, list.slice(0, SHOWN).map((one) => h('tr', null,
        h('td', { class: 'mono' }, one.key), h('td', { class: 'prompt' }, one.prompt), h('td', { class: 'number' }, count((one.sample_index ?? 0) + 1)))))),
    list.length > SHOWN && h('p', { class: 'hint' }, `and ${count(list.length - SHOWN)} more`));
}
