import { announce, fill, h, icon } from '../dom.js';
import { duration } from '../format.js';

/** A line that says that something was done; goes by itself. */
export function toast(text) {
  const line = h('div', { class: 'toast' }, icon('check'), h('span', null, text));
  document.getElementById('toasts').append(line);
  announce(text);
  setTimeout(() => line.remove(), 5000);
}

/** What went wrong, and what to do about it. */
export function errorBox(error, { title = 'That did not work', again = null, action = 'Try again' } = {}) {
  return h('div', { class: 'error-box', role: 'alert' },
    icon('failed'),
    h('div', null,
      h('strong', null, title),
      h('p', null, error.message),
      error.retryAfter && h('p', { class: 'hint' }, `Try again in ${duration(error.retryAfter)}.`),
      error.request && h('p', { class: 'hint' }, 'Request ', h('code', null, error.request)),
      again && h('button', { type: 'button', onclick: again }, icon('retry'), action)));
}

const lines = new Map();

/** Standing notices under the header, by name: the farm is not ready, it cannot be reached. */
export function notice(name, text) {
  if ((lines.get(name) ?? null) === text) return;
  if (text) lines.set(name, text);
  else lines.delete(name);
  fill(document.getElementById('notices'), [...lines.values()].map((line) => h('p', null, icon('warning'), h('span', null, line))));
}

/** Until the first answer is there; shows itself only where that takes a while. */
export const loading = () => h('p', { class: 'empty loading' }, 'Loading…');

/** Shown where there is nothing yet: what this is for, and what to do. */
export function emptyState(title, ...content) {
  return h('div', { class: 'empty' }, h('h2', null, title), content);
}
