import { announce, h, icon } from '../dom.js';

/** Copies text; works without a secure context too, where browsers hide the clipboard's API. */
export async function copyText(text, near) {
  if (navigator.clipboard && window.isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Permission refused: the old way may still be allowed.
    }
  }
  const area = h('textarea', { class: 'visually-hidden', 'aria-hidden': 'true', value: text });
  const before = document.activeElement;
  (near?.closest('dialog') ?? document.body).append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  before?.focus();
  return copied;
}

/** A button that copies what `text()` gives and says so. */
export function copyButton(label, text, { withText = false } = {}) {
  const button = h('button', { type: 'button', class: 'quiet copy', 'aria-label': withText ? null : label, title: label }, icon('copy'), withText && h('span', null, label));
  let timer;
  button.addEventListener('click', async () => {
    const copied = await copyText(text(), button);
    announce(copied ? 'Copied' : 'The browser did not allow copying');
    button.querySelector('svg').replaceWith(icon(copied ? 'check' : 'failed'));
    clearTimeout(timer);
    timer = setTimeout(() => button.querySelector('svg').replaceWith(icon('copy')), 1500);
  });
  return button;
}
