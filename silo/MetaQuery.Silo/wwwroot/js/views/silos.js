import { api } from '../api.js';
import { fill, h, icon, keyed, setAttribute, setText } from '../dom.js';
import { bytes, count, moment, percent, plural, rate, words } from '../format.js';
import { confirmAction } from '../ui/dialog.js';
import { toast } from '../ui/notices.js';

const TONES = { active: 'good', joining: 'waiting', leaving: 'warning', silent: 'bad' };
const ICONS = { active: 'run', joining: 'clock', leaving: 'drain', silent: 'warning' };

/** A cluster's silos, for its admin: roles, slots, activations, load. Hidden where the farm is no cluster. */
export function silosSection({ onDone, onError }) {
  const summary = h('p', { class: 'about' });
  const list = h('ul', { class: 'workers' });
  const element = h('section', { class: 'silos', 'aria-labelledby': 'silos-title', hidden: true }, h('h2', { id: 'silos-title' }, 'Silos'), summary, list);
  return {
    element,
    update({ cluster, data }) {
      element.hidden = !cluster;
      const slots = data.flatMap((silo) => silo.slots);
      const activations = data.reduce((sum, silo) => sum + total(silo.activations), 0);
      setText(summary, `${plural(data.length, 'silo')}, ${count(slots.filter((slot) => slot.state === 'running').length)} of ${plural(slots.length, 'slot')} running, ${plural(activations, 'grain')} active`);
      keyed(list, data, (silo) => silo.id, () => siloCard({ onDone, onError }));
    },
  };
}

const total = (activations) => Object.values(activations).reduce((sum, value) => sum + value, 0);

function siloCard({ onDone, onError }) {
  const name = h('h3', null);
  const state = h('span', { class: 'state' });
  const head = h('span', { class: 'state', hidden: true, dataset: { tone: 'good' } }, icon('check'), h('span', null, 'Head'));
  const about = h('p', { class: 'about' });
  const figures = h('dl', { class: 'speeds' });
  const grains = h('p', { class: 'hint' });
  const slots = h('ul', { class: 'slots' });
  const fewer = h('button', { type: 'button', class: 'quiet' }, '−');
  const more = h('button', { type: 'button', class: 'quiet' }, icon('plus'));
  const drain = h('button', { type: 'button', class: 'quiet' }, icon('drain'), h('span', null, 'Drain'));
  let silo = null;
  const wanted = () => silo.slots.filter((slot) => slot.state === 'running' || slot.state === 'waiting').length;
  const scale = async (by) => {
    const { id } = silo;
    const number = wanted() + by;
    try {
      await api.scaleSilo(id, number);
      toast(`${id}: ${plural(number, 'slot')}`);
      onDone();
    } catch (error) {
      onError(error, `${id} was not scaled`);
    }
  };
  fewer.addEventListener('click', () => scale(-1));
  more.addEventListener('click', () => scale(1));
  drain.addEventListener('click', async () => {
    const { id } = silo;
    const sure = await confirmAction({
      title: `Drain ${id}?`, text: 'Its slots finish what they have begun and give back the rest; it hands over what it holds, and its process ends. To have it again, it must be started anew.', action: 'Drain the silo',
    });
    if (!sure) return;
    try {
      await api.drainSilo(id);
      toast(`Leaving: ${id}`);
      onDone();
    } catch (error) {
      onError(error, `${id} was not drained`);
    }
  });
  const element = h('li', { class: 'worker silo' }, h('div', { class: 'worker-head' }, name, state, head, h('div', { class: 'actions' }, fewer, more, drain)), about, figures, grains, slots);
  return {
    element,
    update(next) {
      silo = next;
      setText(name, next.id);
      if (state.dataset.state !== next.state) {
        state.dataset.state = next.state;
        state.dataset.tone = TONES[next.state] ?? 'waiting';
        fill(state, icon(ICONS[next.state] ?? 'clock'), h('span', null, words(next.state)));
      }
      head.hidden = !next.head;
      setAttribute(drain, 'aria-label', `Drain silo ${next.id}`);
      setAttribute(fewer, 'aria-label', `One slot less on ${next.id}`);
      setAttribute(more, 'aria-label', `One slot more on ${next.id}`);
      const steered = next.state === 'active';
      drain.hidden = !steered;
      more.hidden = !steered || !next.roles.some((role) => role !== 'head');
      fewer.hidden = more.hidden || wanted() === 0;
      setText(about, [`${next.host}, process ${next.process_id}`, next.roles.join(' + '), next.started_at ? `since ${moment(next.started_at)}` : null].filter(Boolean).join(' · '));
      const rows = [
        ['Processors', percent(next.cpu_share)], ['Memory', bytes(next.memory_bytes)], ['Pictures/s', rate(next.slots.reduce((sum, slot) => sum + slot.images_per_second, 0))],
        ['Grains', count(total(next.activations))],
      ];
      fill(figures, rows.map(([label, value]) => h('div', null, h('dt', null, label), h('dd', null, value))));
      setText(grains, Object.entries(next.activations).toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([kind, number]) => `${kind} ${number}`).join(' · '));
      keyed(slots, next.slots, (slot) => slot.index, slotLine);
    },
  };
}

function slotLine({ index }) {
  const what = h('span', { class: 'slot-what' });
  const busy = h('span', { class: 'slot-since' });
  const work = { encode: 'encodes', denoise: 'makes pictures', idle: 'idle' };
  return {
    element: h('li', null, h('span', { class: 'slot-name' }, `Slot ${index + 1}`), what, busy),
    update(slot) {
      what.dataset.activity = slot.activity;
      setText(what, slot.state === 'running' ? work[slot.activity] ?? slot.activity : words(slot.state));
      setText(busy, slot.state === 'running' ? `${percent(slot.busy_share)} busy` : '');
    },
  };
}
