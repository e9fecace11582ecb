import { ApiError, send } from './api.js';
import { parseJson } from './json.js';

const SILENCE_MS = 60_000; // the server sends a comment far more often; silence means a dead connection

/** Takes text/event-stream apart, in whatever pieces it comes. */
export class EventParser {
  #rest = '';
  #type = '';
  #data = [];
  #id = '';

  /** @returns the events that ended in this piece */
  push(text) {
    const events = [];
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line === '') {
        if (this.#data.length > 0) events.push({ type: this.#type || 'message', data: this.#data.join('\n'), id: this.#id });
        this.#type = '';
        this.#data = [];
      } else if (!line.startsWith(':')) {
        const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
        if (field === 'data') this.#data.push(value);
        else if (field === 'event') this.#type = value;
        else if (field === 'id' && !value.includes('\0')) this.#id = value;
      }
    }
    return events;
  }
}

/**
 * Follows a job. EventSource cannot send an API key, so this speaks the protocol over fetch: it comes back by itself with Last-Event-ID, waiting
 * longer each time, and ends when the stream ends after a final state.
 * @param handlers onEvent({ type, job, samples }), onStatus('live'|'waiting'|'ended'|'failed', detail), isOver() -> whether the job is settled
 * @returns a function that stops it
 */
export function follow(path, { onEvent, onStatus, isOver }) {
  const stop = new AbortController();
  let lastId = '';
  let failures = 0;

  async function read(attempt) {
    const headers = { Accept: 'text/event-stream' };
    if (lastId) headers['Last-Event-ID'] = lastId;
    const response = await send(path, { headers, signal: attempt.signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser();
    let watchdog;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => attempt.abort(), SILENCE_MS);
    };
    try {
      onStatus('live');
      for (;;) {
        alive();
        const { value, done } = await reader.read();
        if (done) return;
        failures = 0;
        for (const event of parser.push(value)) {
          if (event.id) lastId = event.id;
          onEvent({ type: event.type, ...parseJson(event.data) });
        }
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  async function run() {
    while (!stop.signal.aborted) {
      const attempt = new AbortController();
      const end = () => attempt.abort();
      stop.signal.addEventListener('abort', end, { once: true });
      try {
        await read(attempt);
        if (isOver()) return onStatus('ended');
      } catch (error) {
        if (stop.signal.aborted) return undefined;
        // A refusal stays one; a broken connection, a restart or an overloaded farm passes.
        if (error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429 && error.status !== 408) {
          return onStatus('failed', error);
        }
      } finally {
        stop.signal.removeEventListener('abort', end);
      }
      if (stop.signal.aborted) return undefined;
      failures++;
      const wait = Math.min(10_000, 300 * 2 ** (failures - 1)) * (0.75 + Math.random() / 2);
      onStatus('waiting', failures);
      await pause(wait, stop.signal);
    }
    return undefined;
  }

  run();
  return () => stop.abort();
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done, { once: true });
    window.addEventListener('online', done, { once: true });
    function done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      window.removeEventListener('online', done);
      resolve();
    }
  });
}
