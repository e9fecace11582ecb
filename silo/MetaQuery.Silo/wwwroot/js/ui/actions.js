import { api } from '../api.js';
import { h, icon } from '../dom.js';
import { count, plural } from '../format.js';
import { confirmAction } from './dialog.js';
import { allows, jobTitle, parts } from './job-parts.js';
import { toast } from './notices.js';

// What may be asked of a job. What destroys is confirmed first, with what would be lost.
const COMMANDS = [
  { name: 'pause', label: 'Pause', icon: 'pause', done: 'Paused' },
  { name: 'resume', label: 'Resume', icon: 'play', done: 'Resumed' },
  { name: 'retry-failed', label: 'Retry failed', icon: 'retry', done: 'The failed pictures are tried again' },
  {
    name: 'cancel', label: 'Cancel', icon: 'stop', done: 'Cancelled',
    confirm: (job) => {
      const { images, written, failed } = parts(job.counts);
      return {
        title: `Cancel “${jobTitle(job)}”?`, action: 'Cancel the job',
        text: `${plural(written, 'picture')} already written stay. The other ${count(images - written - failed)} will not be made, and the job cannot be resumed.`,
      };
    },
  },
  {
    name: 'delete', label: 'Delete', icon: 'trash', done: 'Deleted',
    confirm: (job) => ({
      title: `Delete “${jobTitle(job)}”?`, action: 'Delete the job',
      text: `${plural(job.counts.written, 'picture')} and all files of the job are removed from the farm’s disk. This cannot be undone.`,
    }),
  },
];

/** Runs one; answers the job as it stands after, or null when the user thought better of it. Throws ApiError. */
async function run(command, job) {
  if (command.confirm && !(await confirmAction(command.confirm(job)))) return null;
  const after = command.name === 'delete' ? (await api.remove(job.id), job) : await api.command(job.id, command.name);
  toast(`${command.done}: ${jobTitle(job)}`);
  return after;
}

/**
 * Buttons for what the job's state allows.
 * @param onDone (command, job as it stands after); onError (error)
 */
export function actionButtons({ only = null, compact = false, onDone, onError }) {
  const element = h('div', { class: compact ? 'actions compact' : 'actions' });
  let job = null;
  const buttons = COMMANDS.filter((command) => !only || only.includes(command.name)).map((command) => {
    const button = h('button', { type: 'button', class: command.name === 'delete' || command.name === 'cancel' ? 'quiet danger-text' : 'quiet', dataset: { command: command.name } },
      icon(command.icon), h('span', { class: compact ? 'visually-hidden' : '' }, command.label));
    button.addEventListener('click', async () => {
      const asked = job;
      button.setAttribute('aria-disabled', 'true');
      try {
        const after = await run(command, asked);
        if (after) onDone(command.name, after);
      } catch (error) {
        onError(error, command.label);
      } finally {
        button.removeAttribute('aria-disabled');
      }
    });
    return { command, button };
  });
  element.append(...buttons.map(({ button }) => button));
  return {
    element,
    update(next) {
      job = next;
      for (const { command, button } of buttons) {
        const wasFocused = document.activeElement === button;
        button.hidden = !allows(job.state, command.name) ;
        if (compact) {
          button.title = command.label;
          button.setAttribute('aria-label', `${command.label} ${jobTitle(job)}`);
        }
        // A button that went must not take the focus with it into nowhere.
        if (wasFocused && button.hidden) element.querySelector('button:not([hidden])')?.focus();
      }
    },
  };
}
