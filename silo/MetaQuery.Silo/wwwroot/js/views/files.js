import { api } from '../api.js';
import { fill, h, icon } from '../dom.js';
import { bytes, plural } from '../format.js';
import { copyButton } from '../ui/copy.js';
import { isFinal } from '../ui/job-parts.js';
import { emptyState, errorBox } from '../ui/notices.js';
import { ownAddress } from '../ui/pictures.js';

const RENEW_MS = 30 * 60_000; // addresses are good for an hour

const SHARD_MS = 3000; // a shard is written and checked after its last picture

/** What can be downloaded: shards as they are finished, then manifest and contact sheet. */
export function filesSection(root, id, { job }) {
  let shown = null;
  let again;
  const stop = new AbortController();
  const renew = setInterval(load, RENEW_MS);

  async function load() {
    try {
      const files = (await api.files(id, stop.signal)).data;
      const total = files.reduce((sum, file) => sum + file.bytes, 0);
      fill(root, files.length === 0
        ? emptyState('No files yet', h('p', null, isFinal(job().state) ? 'The job ended before a shard was finished.' : 'A shard can be downloaded as soon as its last picture is written.'))
        : [h('p', { class: 'hint' }, `${plural(files.length, 'file')}, ${bytes(total)}. Shards are WebDataset tar files: picture, caption and JSON of each sample.`), table(files), allAtOnce()]);
    } catch (error) {
      if (!stop.signal.aborted) fill(root, errorBox(error, { title: 'The files cannot be shown', again: load }));
    }
  }

  function allAtOnce() {
    const command = `./farm job download ${id}`;
    return h('p', { class: 'hint command' }, 'All at once, checked, and going on where it was broken off: ', h('code', null, command), copyButton('Copy the command', () => command));
  }

  function table(files) {
    return h('table', { class: 'plain files' },
      h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'File'), h('th', { scope: 'col', class: 'number' }, 'Size'), h('th', { scope: 'col' }, 'SHA-256'))),
      h('tbody', null, files.map((file) => h('tr', null, h('th', { scope: 'row' }, link(file)), h('td', { class: 'number' }, bytes(file.bytes)),
        h('td', { class: 'mono hash' }, file.sha256 ? [h('span', { title: file.sha256 }, file.sha256.slice(0, 16), '…'), copyButton(`Copy the SHA-256 of ${file.name}`, () => file.sha256)] : '–')))));
  }

  function link(file) {
    return h('a', { href: ownAddress(file.url), download: file.name }, icon('download'), ' ', file.name);
  }

  return {
    update(next) {
      // A shard ends with its last picture: look again when that may have happened.
      const mark = `${next.state} ${Math.floor((next.counts.written + next.counts.failed) / Math.max(1, next.settings.samples_per_shard))}`;
      if (mark === shown) return;
      shown = mark;
      load();
      clearTimeout(again);
      again = setTimeout(load, SHARD_MS);
    },
    close() {
      clearTimeout(again);
      clearInterval(renew);
      stop.abort();
    },
  };
}
