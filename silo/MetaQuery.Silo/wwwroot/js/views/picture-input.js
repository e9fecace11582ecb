import { announce, fill, h, icon } from '../dom.js';
import { bytes, plural } from '../format.js';

const MOST = 16; // of one prompt
const MOST_BYTES = 32 * 1024 * 1024;

export const isPicture = (file) => /^image\/(png|jpeg|webp)$/.test(file.type) || /\.(png|jpe?g|webp)$/i.test(file.name);

/** The pictures that a job's prompts are about: chosen or dropped, each with a way to take it out again. */
export function pictureInput(changed) {
  const chooser = h('input', { type: 'file', id: 'picture-files', class: 'visually-hidden', multiple: true, accept: 'image/png,image/jpeg,image/webp,.png,.jpg,.jpeg,.webp' });
  const list = h('ul', { class: 'chosen', 'aria-label': 'Chosen pictures' });
  const element = h('div', { class: 'picture-input', hidden: true }, list,
    h('p', { class: 'hint' }, h('label', { for: 'picture-files', class: 'file-label' }, icon('picture'), 'Add pictures'), chooser, ' or drop them here, to edit or to combine; without a prompt they are made again'));
  let files = [];
  const addresses = new Map();

  chooser.addEventListener('change', () => {
    const problem = add([...chooser.files]);
    chooser.value = '';
    element.dispatchEvent(new CustomEvent('problem', { detail: problem }));
  });

  /** @returns what is wrong with one of them, in which case none is added; else null */
  function add(more) {
    const fresh = more.filter((file) => !files.some((known) => known.name === file.name && known.size === file.size && known.lastModified === file.lastModified));
    const wrong = fresh.find((file) => !isPicture(file));
    if (wrong) return `${wrong.name} is no picture: PNG, JPEG and WebP are taken.`;
    const large = fresh.find((file) => file.size > MOST_BYTES);
    if (large) return `${large.name} has ${bytes(large.size)}; a picture may have ${bytes(MOST_BYTES)}.`;
    if (files.length + fresh.length > MOST) return `A prompt may have ${MOST} pictures; these would be ${files.length + fresh.length}.`;
    if (fresh.length === 0) return null;
    files = [...files, ...fresh];
    show();
    announce(`${plural(fresh.length, 'picture')} added, ${files.length} chosen`);
    return null;
  }

  function remove(file) {
    const place = files.indexOf(file);
    files = files.filter((known) => known !== file);
    URL.revokeObjectURL(addresses.get(file));
    addresses.delete(file);
    show();
    announce(`${file.name} removed, ${plural(files.length, 'picture')} chosen`);
    (list.querySelectorAll('button')[Math.min(place, files.length - 1)] ?? chooser).focus();
  }

  function show() {
    fill(list, files.map((file) => {
      if (!addresses.has(file)) addresses.set(file, URL.createObjectURL(file));
      return h('li', null,
        h('img', { src: addresses.get(file), alt: '' }), h('span', { class: 'chosen-name', title: file.name }, file.name), h('span', { class: 'hint' }, bytes(file.size)),
        h('button', { type: 'button', class: 'quiet', 'aria-label': `Remove ${file.name}`, title: 'Remove the picture', onclick: () => remove(file) }, icon('close')));
    }));
    changed();
  }

  function clear() {
    addresses.forEach((address) => URL.revokeObjectURL(address));
    addresses.clear();
    files = [];
    show();
  }

  return {
    element,
    add,
    clear,
    get files() {
      return element.hidden ? [] : files;
    },
    /** Only for a model that reads pictures. */
    showModel(model) {
      element.hidden = !model?.reads_pictures;
    },
  };
}
