// What is wrong with the structure that a screen reader or a keyboard meets, as a list of sentences.
() => {
  const wrong = [];
  const visible = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest('[aria-hidden="true"]');
  const say = (element, what) => wrong.push(`${what}: ${element.outerHTML.slice(0, 120)}`);
  const text = (id) => document.getElementById(id)?.textContent.trim() ?? '';
  const nameOf = (element) => {
    const by = element.getAttribute('aria-labelledby');
    if (by) return by.split(' ').map(text).join(' ').trim();
    const label = element.getAttribute('aria-label')?.trim();
    if (label) return label;
    const labels = [...(element.labels ?? [])].map((each) => each.textContent.trim()).join(' ');
    if (labels) return labels;
    return ['INPUT', 'SELECT', 'TEXTAREA'].includes(element.tagName) ? '' : element.textContent.trim() || element.querySelector('img[alt]')?.alt || '';
  };

  const ids = new Map();
  for (const element of document.querySelectorAll('[id]')) {
    if (ids.has(element.id)) say(element, `the id ${element.id} is there twice`);
    ids.set(element.id, element);
  }
  for (const attribute of ['for', 'aria-labelledby', 'aria-describedby', 'aria-controls']) {
    for (const element of document.querySelectorAll(`[${attribute}]`)) {
      for (const id of element.getAttribute(attribute).split(' ')) if (!ids.has(id)) say(element, `${attribute} names ${id}, which is not there`);
    }
  }
  for (const element of document.querySelectorAll('a[href], button, input, select, textarea, summary, dialog, [role=progressbar], [role=group], nav')) {
    if (!visible(element)) continue;
    if (!nameOf(element)) say(element, 'has no name');
    const box = element.getBoundingClientRect();
    if (element.matches('button') && (box.width < 24 || box.height < 24)) say(element, `is ${Math.round(box.width)} by ${Math.round(box.height)} pixels`);
  }
  for (const image of document.querySelectorAll('img')) if (!image.hasAttribute('alt')) say(image, 'has no alt');
  for (const element of document.querySelectorAll('[tabindex]')) if (element.tabIndex > 0) say(element, 'has a tabindex above 0');
  for (const element of document.querySelectorAll('[aria-hidden="true"]')) {
    if (element.querySelector('a[href], button, input, select, textarea')) say(element, 'is hidden from screen readers but can take the focus');
  }

  const levels = [...document.querySelectorAll('h1, h2, h3, h4')].filter(visible).map((heading) => Number(heading.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) wrong.push(`there are ${levels.filter((level) => level === 1).length} headings of level 1`);
  for (let i = 1; i < levels.length; i++) if (levels[i] > levels[i - 1] + 1) wrong.push(`a heading of level ${levels[i]} follows one of level ${levels[i - 1]}`);
  for (const landmark of ['header', 'main', 'nav[aria-label="Main"]']) {
    if (document.querySelectorAll(`body > ${landmark}, body > header > ${landmark}`).length !== 1) wrong.push(`not one ${landmark}`);
  }
  const navigations = [...document.querySelectorAll('nav')].map(nameOf);
  if (new Set(navigations).size !== navigations.length) wrong.push(`navigations of one name: ${navigations}`);
  if (!document.documentElement.lang) wrong.push('the document names no language');
  if (document.querySelectorAll('[aria-live=polite]').length !== 1) wrong.push('not one polite live region');
  for (const table of document.querySelectorAll('table')) {
    for (const cell of table.querySelectorAll('thead th')) if (!cell.textContent.trim() || cell.scope !== 'col') say(cell, 'heads no column');
  }
  return wrong;
}
