// Figures in words, for more than one screen.

import { number } from './dom.js';

export const labels = (n) => `${number(n)} ${n === 1 ? 'label' : 'labels'}`;
