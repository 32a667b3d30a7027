// Elements, made with text only: nothing a person typed is ever parsed as markup; and what waits until they are seen.

export function element(tag, className = '', text = null) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== null) made.textContent = text;
  return made;
}

const figures = new Intl.NumberFormat('en'); // toLocaleString makes one each time
export const number = (n) => figures.format(n);
export const percent = (p) => `${(100 * p).toFixed(1)}%`;

/** 'gold 81.2% (n=1,000)': an accuracy is never shown without the number of images it stands on. */
export const accuracyText = ({ kind, value, n }) => `${kind} ${percent(value)} (n=${number(n)})`;

/** How many of these elements stand in the first row. */
export function columns(tiles) {
  const next = tiles.findIndex((tile) => tile.offsetTop > tiles[0].offsetTop);
  return next < 0 ? tiles.length : next;
}

const LATEST = 100; // ms; a hidden page paints no frame

/** Calls `act` once what was just changed is on its way to the screen: nothing that can wait delays the next image. */
export function afterFrame(act) {
  let timer = 0;
  let waits = true;
  const once = () => {
    clearTimeout(timer);
    if (waits) act();
    waits = false;
  };
  timer = setTimeout(once, LATEST);
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(once))); // before its second frame, the first is painted
}
