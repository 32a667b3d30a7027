// Words for more than one screen.

import { number } from './dom.js';

export const labels = (n) => `${number(n)} ${n === 1 ? 'label' : 'labels'}`;

/** Answers that are no label. */
export const WORDS = { skip: 'Skipped', unsure: 'Unsure', flag: 'Flagged' };
