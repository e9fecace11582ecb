import { api, key } from '../api.js';
import { fill, h, icon } from '../dom.js';
import { bytes, plural } from '../format.js';
import { copyButton } from '../ui/copy.js';
import { isFinal } from '../ui/job-parts.js';
import { emptyState, errorBox } from '../ui/notices.js';
import { download } from '../ui/pictures.js';

/** What can be downloaded: shards as they are finished, then manifest and contact sheet. */
export function filesSection(root, id, { job }) {
  let shown = null;
  let problem = h('div');
  const stop = new AbortController();

  async function load() {
    try {
      const files = (await api.files(id, stop.signal)).data;
      const total = files.reduce((sum, file) => sum + file.bytes, 0);
      fill(problem);
      fill(root, problem, files.length === 0
        ? emptyState('No files yet', h('p', null, isFinal(job().state) ? 'The job ended before a shard was finished.' : 'A shard can be downloaded as soon as its last picture is written.'))
        : [h('p', { class: 'hint' }, `${plural(files.length, 'file')}, ${bytes(total)}. Shards are WebDataset tar files: picture, caption and JSON of each sample.`), table(files)]);
    } catch (error) {
      if (!stop.signal.aborted) fill(root, errorBox(error, { title: 'The files cannot be shown', again: load }));
    }
  }

  function table(files) {
    return h('table', { class: 'plain files' },
      h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'File'), h('th', { scope: 'col', class: 'number' }, 'Size'), h('th', { scope: 'col' }, 'SHA-256'))),
      h('tbody', null, files.map((file) => h('tr', null, h('th', { scope: 'row' }, link(file)), h('td', { class: 'number' }, bytes(file.bytes)),
        h('td', { class: 'mono hash' }, file.sha256 ? [h('span', { title: file.sha256 }, file.sha256.slice(0, 16), '…'), copyButton(`Copy the SHA-256 of ${file.name}`, () => file.sha256)] : '–')))));
  }

  function link(file) {
    const path = api.filePath(id, file.name);
    return h('a', { href: path, download: file.name, onclick: async (event) => {
      if (!key()) return; // an ordinary download then
      event.preventDefault();
      try {
        await download(path, file.name);
      } catch (error) {
        fill(problem, errorBox(error, { title: `${file.name} was not downloaded` }));
      }
    } }, icon('download'), ' ', file.name);
  }

  return {
    update(next) {
      // A shard ends with its last picture: look again when that may have happened.
      const mark = `${next.state} ${Math.floor((next.counts.written + next.counts.failed) / Math.max(1, next.settings.samples_per_shard))}`;
      if (mark === shown) return;
      shown = mark;
      load();
    },
    close: () => stop.abort(),
  };
}
