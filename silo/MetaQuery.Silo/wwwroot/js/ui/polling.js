/**
 * Calls `load(signal)` now and then again some time after each answer, but not while the tab is hidden. After an error it waits longer each time.
 * @returns {{ now(): void, stop(): void }}
 */
export function poll(load, { every = 2000, onError }) {
  let timer = null;
  let failures = 0;
  let current = null;
  let stopped = false;

  async function turn() {
    clearTimeout(timer);
    current?.abort();
    const attempt = (current = new AbortController());
    try {
      await load(attempt.signal);
      failures = 0;
    } catch (error) {
      if (attempt.signal.aborted) return;
      failures++;
      onError(error);
      if (error.status === 401 || error.status === 403) return; // a new key starts the view anew
    }
    if (!stopped && current === attempt && !document.hidden) timer = setTimeout(turn, every * Math.min(10, 2 ** failures));
  }

  const onVisible = () => (document.hidden ? clearTimeout(timer) : turn());
  document.addEventListener('visibilitychange', onVisible);
  turn();
  return {
    now: turn,
    stop() {
      stopped = true;
      clearTimeout(timer);
      current?.abort();
      document.removeEventListener('visibilitychange', onVisible);
    },
  };
}
