import { h, icon, setAttribute, setText } from '../dom.js';
import { count, plural } from '../format.js';
import { PAGE_SIZES, pageSize, setPageSize } from './samples.js';

const THUMB = 'metaquery.thumb';
const THUMBS = [['small', 'Small'], ['medium', 'Medium'], ['large', 'Large']];

function thumb() {
  try {
    return localStorage.getItem(THUMB) ?? 'medium';
  } catch {
    return 'medium';
  }
}

/** What stands above the gallery: where one is in it, paging, following, sizes. */
export function galleryBar({ onPage, onFollow, onSize }) {
  let page = 1;
  let pages = 1;
  const where = h('p', { class: 'where' });
  const button = (name, label, to) => h('button', { type: 'button', class: 'quiet', 'aria-label': label, title: label, onclick: () => onPage(to()) }, icon(name));
  const previous = button('left', 'Previous page', () => page - 1);
  const next = button('right', 'Next page', () => page + 1);
  const number = h('input', { id: 'gallery-page', inputmode: 'numeric', 'aria-label': 'Page', autocomplete: 'off' });
  number.addEventListener('change', () => onPage(Number.parseInt(number.value, 10) || page));
  const of = h('span');
  const pager = h('div', { class: 'gallery-pager', role: 'group', 'aria-label': 'Pages' }, previous, h('span', null, 'Page '), number, of, next);
  const follow = h('input', { type: 'checkbox', id: 'gallery-follow', onchange: () => onFollow(follow.checked) });
  const followField = h('span', { class: 'check' }, follow, h('label', { for: 'gallery-follow' }, 'Follow new pictures'));
  const sizes = h('select', { id: 'gallery-size', onchange: () => {
    setPageSize(Number(sizes.value));
    onSize();
  } }, PAGE_SIZES.map((size) => h('option', { value: size }, String(size))));
  sizes.value = String(pageSize());
  const thumbs = h('select', { id: 'gallery-thumb', onchange: () => {
    try {
      localStorage.setItem(THUMB, thumbs.value);
    } catch {
      // Holds for this view alone then.
    }
    showThumb();
  } }, THUMBS.map(([value, label]) => h('option', { value }, label)));
  thumbs.value = thumb();
  const element = h('div', { class: 'gallery-bar', role: 'group', 'aria-label': 'Gallery' }, where, pager, followField,
    h('span', { class: 'sizes' },
      h('label', { for: 'gallery-thumb' }, 'Size '), thumbs,
      h('label', { for: 'gallery-size' }, 'Per page '), sizes));

  function showThumb() {
    const list = element.parentElement?.querySelector('.gallery');
    if (list) list.dataset.thumb = thumbs.value;
  }

  return {
    element,
    update(now) {
      ({ page, pages } = now);
      setText(where, now.cells === 0 ? plural(now.images, 'picture') : `${count(now.start + 1)}–${count(now.start + now.cells)} of ${plural(now.images, 'picture')}`);
      if (document.activeElement !== number) number.value = String(page);
      setText(of, ` of ${count(pages)}`);
      setAttribute(pager, 'hidden', pages > 1 ? null : '');
      previous.disabled = page <= 1;
      next.disabled = page >= pages;
      follow.checked = now.follow;
      followField.hidden = !now.active || pages <= 1;
      showThumb();
    },
  };
}
