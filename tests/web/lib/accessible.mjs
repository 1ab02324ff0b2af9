// Finds accessibility faults that axe-core does not find. The faults concern the keyboard, reduced motion and forced
// colours.

const STOPS = "a[href], button:not(:disabled), input:not([type=hidden]):not(:disabled), summary";

/** Moves the focus with Tab. Returns the elements that the focus does not reach, and those that show no focus. */
async function keyboardFaults(page) {
  const stops = await page.evaluate((selector) => {
    const visible = [...document.querySelectorAll(selector)].filter((element) => element.checkVisibility());
    visible.forEach((element, place) => (element.dataset.stop = place));
    return visible.map((element) => element.outerHTML.slice(0, 80));
  }, STOPS);
  const reached = new Set();
  const unseen = [];
  // Press Tab more often than there are elements. The focus may begin in the middle of the page, and it also stops at
  // the document itself.
  for (let press = 0; press < stops.length * 2 + 2 && reached.size < stops.length; press++) {
    await page.keyboard.press("Tab");
    const { stop, outlined } = await page.evaluate(() => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      const outlined = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
      return { stop: document.activeElement.dataset.stop, outlined };
    });
    if (stop === undefined) continue;
    reached.add(Number(stop));
    if (!outlined) unseen.push(`no focus is seen at ${stops[stop]}`);
  }
  const missed = stops.filter((_, place) => !reached.has(place));
  return [...missed.map((stop) => `the keyboard does not reach ${stop}`), ...unseen];
}

/** Returns the elements that move although the browser requests reduced motion. */
function motionFaults(page) {
  return page.evaluate(() => document.getAnimations()
    .filter(({ playState, effect }) => playState === "running" && effect.getComputedTiming().activeDuration > 1)
    .map(({ effect }) => `moves: ${effect.target.outerHTML.slice(0, 80)}`));
}

/** In forced colours, returns the elements that keep their own colours, and the buttons and fields without an edge. */
async function forcedColourFaults(page) {
  await page.emulateMedia({ forcedColors: "active" });
  const found = await page.evaluate(() => [...document.querySelectorAll("body *")]
    .filter((element) => element.checkVisibility())
    .flatMap((element) => {
      const { forcedColorAdjust, borderTopStyle, borderTopWidth } = getComputedStyle(element);
      const hasEdge = borderTopStyle !== "none" && parseFloat(borderTopWidth) > 0;
      const what = element.outerHTML.slice(0, 80);
      const faults = forcedColorAdjust === "none" ? [`keeps its colours: ${what}`] : [];
      return element.matches("button, input") && !hasEdge ? [...faults, `has no edge: ${what}`] : faults;
    }));
  await page.emulateMedia({ forcedColors: "none" });
  return found;
}

/** Returns everything that is wrong. The page must be opened with reduced motion. */
export async function accessFaults(page) {
  return [...(await keyboardFaults(page)), ...(await motionFaults(page)), ...(await forcedColourFaults(page))];
}
