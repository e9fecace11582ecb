// A classic script in the head, so that the chosen theme is there before the first paint.
'use strict';
(function () {
  const key = 'metaquery.theme';
  const system = window.matchMedia('(prefers-color-scheme: dark)');
  let chosen = null;
  try {
    chosen = localStorage.getItem(key);
  } catch {
    // Storage may be switched off; the system's theme is used then.
  }

  function current() {
    return chosen ?? (system.matches ? 'dark' : 'light');
  }

  function show() {
    if (chosen === 'dark' || chosen === 'light') {
      document.documentElement.dataset.theme = chosen;
    } else {
      delete document.documentElement.dataset.theme;
    }
    window.dispatchEvent(new CustomEvent('themechange', { detail: current() }));
  }

  system.addEventListener('change', show);
  window.metaqueryTheme = {
    current,
    toggle() {
      const next = current() === 'dark' ? 'light' : 'dark';
      // Back at what the system says: follow it again.
      chosen = next === (system.matches ? 'dark' : 'light') ? null : next;
      try {
        if (chosen) localStorage.setItem(key, chosen);
        else localStorage.removeItem(key);
      } catch {
        // Holds for this page alone then.
      }
      show();
    },
  };
  show();
})();
