import { h, icon } from '../dom.js';

// <dialog> shown as modal: the browser keeps the focus inside, Escape closes, the rest of the page is inert. What is left to do is to give the focus back.

/** Opens a dialog built by `build(dialog)`; resolves with what `dialog.close(value)` was given ('' on Escape). */
export function openDialog({ label, className = '', build }) {
  const before = document.activeElement;
  const dialog = h('dialog', { class: `dialog ${className}`, 'aria-labelledby': label });
  build(dialog);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      if (before?.isConnected) before.focus();
      resolve(dialog.returnValue);
    });
  });
}

/** Asks before something that cannot be taken back. The safe answer has the focus. */
export async function confirmAction({ title, text, action, danger = true }) {
  const answer = await openDialog({
    label: 'confirm-title',
    className: 'small-dialog',
    build(dialog) {
      dialog.setAttribute('aria-describedby', 'confirm-text');
      dialog.setAttribute('role', 'alertdialog');
      dialog.append(
        h('h2', { id: 'confirm-title' }, title),
        h('p', { id: 'confirm-text' }, text),
        h('div', { class: 'dialog-buttons' },
          h('button', { type: 'button', autofocus: true, onclick: () => dialog.close() }, 'Go back'),
          h('button', { type: 'button', class: danger ? 'danger' : 'primary', onclick: () => dialog.close('yes') }, action)));
    },
  });
  return answer === 'yes';
}

/** Asks for an API key; null when the user would rather not. */
export async function askForKey({ refused }) {
  const answer = await openDialog({
    label: 'key-title',
    className: 'small-dialog',
    build(dialog) {
      const input = h('input', {
        id: 'key-input', type: 'password', required: true, autocomplete: 'off', spellcheck: 'false', autofocus: true, 'aria-describedby': 'key-help',
      });
      const form = h('form', { method: 'dialog', onsubmit: (event) => {
        event.preventDefault();
        const value = input.value.trim();
        if (value) dialog.close(`key:${value}`);
      } },
      h('h2', { id: 'key-title' }, 'API key'),
      refused && h('p', { class: 'error-text', role: 'alert' }, icon('failed'), ' The farm refused the key it was given.'),
      h('label', { for: 'key-input' }, 'This farm needs an API key'),
      input,
      h('p', { id: 'key-help', class: 'hint' }, 'Kept in this browser tab until it is closed, and sent to this farm only. Whoever runs the farm gives out keys.'),
      h('div', { class: 'dialog-buttons' },
        h('button', { type: 'button', onclick: () => dialog.close() }, 'Not now'),
        h('button', { type: 'submit', class: 'primary' }, 'Use this key')));
      dialog.append(form);
    },
  });
  return answer.startsWith('key:') ? answer.slice(4) : null;
}
