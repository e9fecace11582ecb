import { api } from './api.js';

// What is the same for the whole page: the farm's model, and what the asker may do.

let model = null;
const listeners = new Set();

/** Calls back with the farm's model, now if it is known, and whenever it is asked for again. @returns a function that ends it */
export function onModel(listener) {
  listeners.add(listener);
  if (model) listener(model);
  return () => listeners.delete(listener);
}

export async function loadModel() {
  model = (await api.models()).data[0] ?? null;
  if (model) listeners.forEach((listener) => listener(model));
  return model;
}
