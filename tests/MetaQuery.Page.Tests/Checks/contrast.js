// Text and controls whose contrast is below WCAG's AA, computed from what the browser draws: a list of sentences.
() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true, colorSpace: 'srgb' });
  const cache = new Map();
  const parse = (colour) => {
    if (!cache.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      cache.set(colour, [r, g, b, a / 255]);
    }
    return cache.get(colour);
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((value, i) => value * a + under[i] * (1 - a));
  const luminance = (colour) => {
    const [r, g, b] = colour.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (light + 0.05) / (dark + 0.05);
  };
  const ground = (element) => {
    if (!element) return [255, 255, 255];
    const colour = parse(getComputedStyle(element).backgroundColor);
    if (colour[3] === 1) return colour.slice(0, 3);
    // what lies in the top layer lies on nothing of the page
    return over(colour, ground(element.tagName === 'DIALOG' ? null : element.parentElement));
  };
  const visible = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const dialog = document.querySelector('dialog[open]');
  const root = dialog ?? document.body;
  const wrong = [];
  let looked = 0;

  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !visible(element) || element.closest('.visually-hidden, .skip, noscript, :disabled, [aria-disabled=true]')) continue;
    const style = getComputedStyle(element);
    for (let at = element; at; at = at.parentElement) if (Number(getComputedStyle(at).opacity) < 1) wrong.push(`opacity below 1: ${at.outerHTML.slice(0, 80)}`);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const under = ground(element);
    const found = ratio(over(parse(style.color), under), under);
    looked++;
    if (found < least) wrong.push(`${found.toFixed(2)} for “${walker.currentNode.data.trim().slice(0, 40)}” (${style.color} in ${element.className || element.tagName})`);
  }
  for (const element of root.querySelectorAll('input:not([type=checkbox]), select, textarea, button:not(.quiet):not(.primary):not(.danger)')) {
    if (!visible(element) || element.matches('.visually-hidden, :disabled, [aria-disabled=true]')) continue;
    const outside = ground(element.parentElement);
    const found = ratio(over(parse(getComputedStyle(element).borderTopColor), outside), outside);
    looked++;
    if (found < 3) wrong.push(`${found.toFixed(2)} for the border of ${element.outerHTML.slice(0, 80)}`);
    if (element.placeholder) {
      const under = ground(element);
      const text = ratio(over(parse(getComputedStyle(element, '::placeholder').color), under), under);
      if (text < 4.5) wrong.push(`${text.toFixed(2)} for the placeholder ${element.placeholder}`);
    }
  }
  for (const [part, other] of [['written', 'waiting'], ['denoised', 'waiting'], ['failed', 'waiting']]) {
    const style = getComputedStyle(document.documentElement);
    const colours = [part, other].map((name) => parse(resolve(style.getPropertyValue(`--part-${name}`))).slice(0, 3));
    if (ratio(...colours) < 3) wrong.push(`${ratio(...colours).toFixed(2)} between ${part} and ${other}`);
  }
  return { wrong: [...new Set(wrong)], looked };

  function resolve(value) {
    const probe = document.createElement('i');
    probe.style.color = value;
    document.body.append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  }
}
