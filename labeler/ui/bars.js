// A bar chart without axes: the highest bar and both ends are named, each bar has its words.

import { element, number } from './dom.js';

/**
 * @param bars [{value, words, className?}], from left to right
 * @param told {ends: [text, text], label: what is read aloud, empty: what is said without bars, top: of the highest}
 */
export function drawBars(host, bars, { ends, label, empty, top = number }) {
  if (!bars.length) return host.replaceChildren(element('p', 'chart-empty', empty));
  const most = Math.max(1, ...bars.map((bar) => bar.value));
  const plot = element('div', 'bars-plot');
  plot.setAttribute('role', 'img');
  plot.setAttribute('aria-label', label);
  for (const { value, words, className = '' } of bars) {
    const bar = element('i', className);
    bar.dataset.words = words;
    const fill = element('i');
    fill.style.height = value ? `max(2px, ${(100 * value) / most}%)` : '0';
    bar.append(fill);
    plot.append(bar);
  }
  const words = element('p', 'bars-words', bars.at(-1).words);
  plot.addEventListener('pointermove', (event) => {
    const bar = event.target.closest('[data-words]');
    if (bar) words.textContent = bar.dataset.words;
  });
  plot.addEventListener('pointerleave', () => (words.textContent = bars.at(-1).words));
  const foot = element('div', 'bars-ends');
  foot.style.setProperty('--bars', bars.length);
  foot.append(element('span', '', ends[0]), element('span', '', ends[1]));
  host.replaceChildren(element('span', 'bars-top', top(most)), plot, foot, words);
}
