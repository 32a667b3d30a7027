// The header: project, progress, pace, save state, trainer, accuracy. It shows what the poll and the canvas tell.

import { firstState, hear, tell } from './api.js';
import { isTyping } from './dialogs.js';
import { accuracyText, element, number } from './dom.js';
import { followTabs } from './tabs.js';

const ACCURACY =
  'Accuracy of the newest version. Gold: images whose class was known beforehand. ' +
  'Measured: images drawn at random and labeled here, never learned from.';
const SAVED = 'Answers are stored by the server before they count as saved.';
const UNSAVED =
  'The server does not answer. Your answers are kept in this tab and sent again until they are stored.';
const PAUSED = 'Training is paused: labels still count and rank, gradient steps wait. Q on the Label tab resumes it.';
const RESTART_SHOWN = 60; // seconds a restart of the trainer stays in sight
const CALM = 600; // ms the save state stands still before it is read aloud

export async function start(host) {
  const top = host.querySelector('.top');
  const $ = (selector) => top.querySelector(selector);
  followTheme($('.theme'));
  followTabs();
  hear('state', (known) => show($, known));
  hear('counts', (counts) => showProgress($, counts));
  const saving = { pending: 0, problem: null, online: true, announce: announcer($('.top-say')) };
  hear('outbox', (outbox) => showSaving($, Object.assign(saving, outbox)));
  hear('online', (online) => showSaving($, Object.assign(saving, { online })));
  hear('online', (online) => online || showAway($));
  hear('rate', (ms) => ($('.rate').textContent = ms && saving.online ? pace(ms) : ''));
  hear('goal', (goal) => showGoal($('.open-goal'), goal));
  $('.open-goal').addEventListener('click', () => tell('ask-goal'));
  $('.open-help').addEventListener('click', () => tell('help'));
  document.addEventListener('keydown', askHelp);
  $('.person').addEventListener('click', () => tell('rename'));
  show($, await firstState());
}

/** ? opens the help of the screen in sight, in a list of images too. */
function askHelp(event) {
  const inList = event.target.matches?.('[role=listbox]') && !document.querySelector('dialog[open]');
  if (event.key !== '?' || event.defaultPrevented || event.ctrlKey || event.metaKey || (!inList && isTyping(event.target))) return;
  event.preventDefault();
  tell('help');
}

function show($, known) {
  $('.project').textContent = known.project;
  $('.project').title = known.project;
  $('.person').textContent = known.annotator ?? '';
  $('.person').hidden = !known.annotator;
  $('.person').title = known.role ? `Signed in as ${known.role}. Press to sign out.` : 'Change the name';
  showProgress($, known.counts);
  showReview(known.to_review);
  showTrainer($, known);
  $('.accuracy').hidden = !known.accuracy.length;
  $('.accuracy').replaceChildren(...known.accuracy.map((one) => element('span', one.kind, accuracyText(one))));
  $('.accuracy').title = ACCURACY;
}

function showProgress($, counts) {
  const total = counts.pool + counts.measure;
  const bar = $('.progress');
  bar.setAttribute('aria-valuemax', total);
  bar.setAttribute('aria-valuenow', counts.labeled);
  bar.firstElementChild.style.width = `${total ? (100 * counts.labeled) / total : 0}%`;
  const words = [element('span', '', ` of ${number(total)}`), element('span', 'long', ' labeled')];
  $('.progress-text').replaceChildren(element('b', '', number(counts.labeled)), ...words);
}

const pace = (ms) => `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)} s each · ${Math.round(60_000 / ms)} / min`;

/** How far the sitting is: a ring that fills, and the figures. */
function showGoal(button, goal) {
  const words = goal ? `${number(goal.done)} / ${number(goal.n)}${goal.unit === 'minutes' ? ' min' : ''}` : '';
  button.querySelector('span').textContent = words;
  button.style.setProperty('--share', goal ? goal.done / goal.n : 0);
  button.classList.toggle('reached', Boolean(goal) && goal.done >= goal.n);
  const told = goal ? `Goal of this sitting: ${number(goal.done)} of ${number(goal.n)} ${goal.unit === 'minutes' ? 'minutes' : 'answers'}` : 'Set a goal for this sitting';
  button.title = told;
  button.setAttribute('aria-label', told);
}

/** How much waits for a reviewer, beside the tab's name; who may not review has no such tab. */
function showReview(n) {
  const tab = document.querySelector('#lab-tab-review-button');
  if (!tab) return;
  tab.hidden = n === null;
  tab.dataset.waiting = n || '';
}

/** The number that is not saved is always the exact one; 'All saved' means none. */
function showSaving($, { pending, problem, online, announce }) {
  const offline = !online || problem !== null;
  const shown = offline ? 'offline' : pending ? 'saving' : 'saved';
  const texts = {
    saved: 'All saved',
    saving: `Saving ${number(pending)}…`,
    offline: pending ? `Offline · ${number(pending)} not saved yet` : 'Offline',
  };
  const save = $('.save');
  save.dataset.state = shown;
  save.lastElementChild.textContent = texts[shown];
  save.title = offline ? UNSAVED : SAVED;
  announce(texts[shown], shown);
}

/** Reads an outage aloud, and its end: what the save state says once it has stood still for a moment. */
function announcer(region) {
  let timer = 0;
  let trouble = false;
  return (text, shown) => {
    trouble ||= shown === 'offline';
    clearTimeout(timer);
    if (!trouble) return;
    timer = setTimeout(() => {
      if (region.textContent !== text) region.textContent = text;
      trouble = shown !== 'saved';
    }, CALM);
  };
}

/** What only the server knows is not known while it does not answer. */
function showAway($) {
  const chip = $('.trainer');
  chip.dataset.phase = 'unknown';
  chip.title = 'The server does not answer, so what the trainer does is not known.';
  $('.trainer-text').textContent = 'Trainer unknown';
  $('.warm').hidden = true;
  $('.rate').textContent = '';
}

function showTrainer($, { trainer, version, version_labels: labels, control }) {
  const [phase, text] = trainerState(trainer, version, control.paused);
  const chip = $('.trainer');
  const restarted = trainer.restarts > 0 && trainer.restarted_ago !== null && trainer.restarted_ago < RESTART_SHOWN;
  chip.dataset.phase = phase;
  $('.trainer-text').textContent = text + (restarted && phase !== 'down' ? ' · restarted' : '');
  const known = version === null ? 'No version of the model yet.' : `Version ${version} learned from ${number(labels)} labels.`;
  const again = restarted ? `The trainer stopped and was started again (${trainer.restarts}×).` : '';
  chip.title = [known, control.paused ? PAUSED : '', again, trainer.message].filter(Boolean).join(' ');
  const warming = phase === 'warm_up' && trainer.steps_total > 0;
  $('.warm').hidden = !warming;
  if (warming) $('.warm i').style.width = `${Math.min(100, (100 * trainer.step) / trainer.steps_total)}%`;
}

/** [phase, words for it]. */
function trainerState(trainer, version, paused) {
  const named = (text) => (version === null ? text : `${text} · v${version}`);
  if (!trainer.alive) {
    if (!trainer.wanted) return ['off', named('Trainer off')];
    return trainer.restarts ? ['down', named('Restarting…')] : ['starting', named('Trainer starting…')];
  }
  const share = trainer.steps_total > 0 ? ` ${Math.min(100, Math.round((100 * trainer.step) / trainer.steps_total))}%` : '';
  if (paused && trainer.phase !== 'failed') return ['paused', named(trainer.phase === 'paused' ? 'Paused' : 'Pausing…')];
  if (trainer.phase === 'idle' && trainer.message) return ['waiting', `Waiting: ${trainer.message}`];
  const texts = {
    starting: named('Trainer starting…'),
    warm_up: `Warming up${share}`,
    learning: named('Learning'),
    settling: named('Settling'),
    idle: named('Up to date'),
    paused: named('Resuming…'),
    failed: 'Trainer failed',
  };
  return [trainer.phase, texts[trainer.phase] ?? named(trainer.phase ?? 'Trainer')];
}

// ---------- light and dark ----------

const darkSystem = matchMedia('(prefers-color-scheme: dark)');

/** Follows the system until a person chooses otherwise; choosing what the system has follows it again. */
function followTheme(button) {
  const apply = () => {
    const chosen = localStorage.getItem('labeler.theme');
    const dark = chosen ? chosen === 'dark' : darkSystem.matches;
    document.body.classList.toggle('dark', dark);
    button.textContent = dark ? '☀' : '☾';
    return dark;
  };
  button.addEventListener('click', () => {
    const wanted = apply() ? 'light' : 'dark';
    if ((wanted === 'dark') === darkSystem.matches) localStorage.removeItem('labeler.theme');
    else localStorage.setItem('labeler.theme', wanted);
    apply();
  });
  darkSystem.addEventListener('change', () => requestAnimationFrame(apply)); // after Gradio's own listener
  apply();
}
