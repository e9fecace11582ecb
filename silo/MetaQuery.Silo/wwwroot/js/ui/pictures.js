import { api, key, send } from '../api.js';

// An <img> cannot send an API key: with one, pictures are fetched and shown from memory.

const shown = new WeakMap();

/** Shows a sample's picture in an <img>. */
export async function showPicture(image, job, position) {
  releasePicture(image);
  const path = api.imagePath(job, position);
  if (!key()) {
    image.src = path;
    return;
  }
  const token = { url: null };
  shown.set(image, token);
  try {
    const blob = await (await send(path)).blob();
    if (shown.get(image) !== token) return;
    token.url = URL.createObjectURL(blob);
    image.src = token.url;
  } catch {
    if (shown.get(image) === token) image.dispatchEvent(new Event('error'));
  }
}

/** Gives a picture's memory back. */
export function releasePicture(image) {
  const token = shown.get(image);
  if (token?.url) URL.revokeObjectURL(token.url);
  shown.delete(image);
}

/** Saves what lies at a path of the API under a name. With a key, large files go to disk piece by piece where the browser can. */
export async function download(path, name) {
  if (!key()) {
    save(path, name);
    return;
  }
  if (window.showSaveFilePicker) {
    let target;
    try {
      target = await window.showSaveFilePicker({ suggestedName: name });
    } catch (error) {
      if (error.name === 'AbortError') return; // the user closed the dialog
      throw error;
    }
    const response = await send(path);
    await response.body.pipeTo(await target.createWritable());
    return;
  }
  const url = URL.createObjectURL(await (await send(path)).blob());
  save(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function save(url, name) {
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
}
