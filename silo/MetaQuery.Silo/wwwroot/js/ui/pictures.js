import { api } from '../api.js';
import { remember } from '../views/samples.js';

// The server signs the addresses of pictures and files for an hour, so that an <img> or a link, which can send no API key, can fetch them.

/** An address of the API's own, or nothing: a picture or a file comes from nowhere else. */
export function ownAddress(address) {
  return typeof address === 'string' && address.startsWith('/v1/') ? address : null;
}

/** Shows a sample's picture in an <img>, or its small copy; where its address has become too old, with a new one. */
export function showPicture(image, job, sample, { small = false } = {}) {
  const addressOf = (known) => ownAddress((small && known.thumbnail_url) || known.image_url) ?? '';
  image.onerror = async () => {
    image.onerror = null;
    try {
      const fresh = await api.sample(job, sample.position);
      remember(job, fresh);
      image.src = addressOf(fresh);
    } catch {
      image.dispatchEvent(new Event('error')); // now it is shown as missing
    }
  };
  image.src = addressOf(sample);
}

/** Saves what lies at an address under a name. */
export function download(address, name) {
  const link = document.createElement('a');
  link.href = ownAddress(address) ?? '';
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
}
