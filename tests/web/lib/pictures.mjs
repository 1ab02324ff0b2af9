// Compares pictures pixel by pixel.

import pixelmatch from "pixelmatch";
import { PNG } from "pngjs";

/** Colours in a stored picture are rounded to multiples of this number, which makes the file a quarter smaller. */
const STEP = 3;

/** Returns a smaller PNG file of the same picture. */
export function small(file) {
  const picture = PNG.sync.read(file);
  for (let place = 0; place < picture.data.length; place++) picture.data[place] = Math.round(picture.data[place] / STEP) * STEP;
  return PNG.sync.write(picture, { deflateLevel: 9, deflateStrategy: 0, filterType: 0, colorType: 2 });
}

/**
 * Returns the share of the pixels that differ between two PNG files, and a PNG file that marks them. Pictures of different
 * sizes differ in every pixel.
 */
export function difference(before, after) {
  const [one, two] = [before, after].map((file) => PNG.sync.read(file));
  const { width, height } = one;
  if (width !== two.width || height !== two.height) return { share: 1, image: null };
  const marked = new PNG({ width, height });
  const count = pixelmatch(one.data, two.data, marked.data, width, height, { threshold: 0.2 });
  return { share: count / (width * height), image: PNG.sync.write(marked) };
}
