// Elements, made with text only: nothing a person typed is ever parsed as markup.

export function element(tag, className = '', text = null) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== null) made.textContent = text;
  return made;
}

export const number = (n) => Number(n).toLocaleString('en');
export const percent = (p) => `${(100 * p).toFixed(1)}%`;

/** 'gold 81.2% (n=1,000)': an accuracy is never shown without the number of images it stands on. */
export const accuracyText = ({ kind, value, n }) => `${kind} ${percent(value)} (n=${number(n)})`;
