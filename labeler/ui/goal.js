// The sitting: how fast it goes, and a goal of labels or minutes where the person set one. Told, never asked about.

import { tell } from './api.js';
import { askGoal } from './dialogs.js';
import { element } from './dom.js';

const PAUSE = 20_000; // ms; a longer gap is no part of the pace
const NEWEST = 40; // answers that the pace is taken from

export class Sitting {
  /** @param keep where the goal survives a reload (holder.js) */
  constructor(root, keep) {
    Object.assign(this, { root, keep, times: [], goal: keep.get('goal') });
  }

  /** One answer was given. Answers taken back do not count against the goal. */
  count(n = 1) {
    if (n > 0) this.times = [...this.times.slice(-NEWEST), performance.now()];
    if (this.goal) {
      this.goal.answers = Math.max(0, this.goal.answers + n);
      this.keep.set('goal', this.goal);
    }
    this.show();
  }

  ask() {
    askGoal(this.root, this.goal, (unit, n) => {
      this.aim(unit, n);
      this.congratulate(null);
    });
  }

  /** The goal is reached: said once, over the image's edge, and nothing is interrupted. null takes it away. */
  congratulate(words) {
    const note = this.root.querySelector('.goal-note');
    note.replaceChildren();
    if (!words) return;
    const close = element('button', 'close', '×');
    close.type = 'button';
    close.setAttribute('aria-label', 'Close');
    close.addEventListener('click', () => note.replaceChildren());
    note.append(element('b', '', words[0]), element('span', '', words[1]), close);
  }

  /** @param unit 'labels' or 'minutes'; n 0 for no goal */
  aim(unit, n) {
    this.goal = n > 0 ? { unit, n, answers: 0, since: Date.now(), told: false } : null;
    this.keep.set('goal', this.goal);
    this.show();
  }

  /** Tells the header where the sitting stands. Called after each answer and now and then. */
  show() {
    const pace = this.pace();
    const { goal } = this;
    tell('rate', pace);
    if (!goal) return tell('goal', null);
    const minutes = (Date.now() - goal.since) / 60_000;
    const done = goal.unit === 'labels' ? goal.answers : Math.floor(minutes);
    tell('goal', { ...goal, done: Math.min(done, goal.n) });
    if (done < goal.n || goal.told) return;
    goal.told = true;
    this.keep.set('goal', goal);
    this.congratulate(summary(goal, minutes));
  }

  /** Milliseconds an answer over the newest ones; null until it is known. */
  pace() {
    const gaps = this.times.slice(1).map((time, i) => time - this.times[i]).filter((gap) => gap < PAUSE);
    return gaps.length >= 3 ? gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length : null;
  }
}

function summary({ answers, n, unit }, minutes) {
  const took = minutes < 1 ? `${Math.max(1, Math.round(60 * minutes))} s` : `${Math.round(minutes)} min`;
  const each = answers ? `, ${((60 * minutes) / answers).toFixed(1)} s each` : '';
  const title = unit === 'labels' ? `${n} answers: that was the goal` : `${n} minutes: that was the goal`;
  return [title, `${answers} ${answers === 1 ? 'answer' : 'answers'} in ${took}${each}. Go on as long as you like.`];
}
