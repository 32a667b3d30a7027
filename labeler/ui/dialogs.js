// The dialogs of the labeling screen: who is labeling, signing in again, a goal.

import { bus, call, poll } from './api.js';

/** True where a key belongs to what has the focus: a field, a menu, an open dialog. */
export function isTyping(target) {
  if (document.querySelector('dialog[open]')) return true;
  const field = /^(INPUT|TEXTAREA|SELECT)$/.test(target?.tagName ?? '') || target?.isContentEditable;
  return Boolean(field || target?.closest?.('[role=combobox], [role=listbox]'));
}

/** The dialogs stand beside the header, so that they open over any tab: one in a tab that is not in sight would hold up all. */
export const dialogOf = (name) => document.querySelector(`#lab-header dialog.${name}`);

/** Asks for a goal of the sitting; `set(unit, n)` is called with what was chosen, n 0 for none. */
export function askGoal(root, goal, set) {
  const dialog = dialogOf('goal');
  if (dialog.open) return;
  const { n, unit } = dialog.querySelector('form').elements;
  if (goal) [n.value, unit.value] = [goal.n, goal.unit];
  dialog.querySelector('form').onsubmit = () => set(unit.value, Math.round(n.valueAsNumber));
  dialog.querySelector('.none').onclick = () => {
    set(unit.value, 0);
    dialog.close();
  };
  dialog.onclose = () => root.focus({ preventScroll: true });
  dialog.showModal();
  n.select();
}

let asking = null;

/** Asks for a name until the server takes one. With `known` it can be left without a change. */
export function askName(root, known = null) {
  asking ??= new Promise((resolve) => showNameDialog(root, known, resolve)).finally(() => (asking = null));
  return asking;
}

function showNameDialog(root, known, resolve) {
  root.hidden = false;
  const dialog = dialogOf('who');
  const [form, input, problem] = ['form', 'input', '.problem'].map((selector) => dialog.querySelector(selector));
  input.value = known ?? '';
  problem.textContent = '';
  const done = (name) => {
    dialog.close();
    root.focus({ preventScroll: true });
    resolve(name);
  };
  dialog.oncancel = (event) => {
    event.preventDefault();
    if (known) done(known);
  };
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (!input.value.trim()) return (problem.textContent = 'Please type a name.');
    try {
      done((await call('name', { name: input.value })).annotator);
      poll(); // the header shows the name
    } catch (refusal) {
      problem.textContent = refusal.message;
      input.focus();
    }
  };
  dialog.showModal();
  input.focus();
  input.select();
}

const REACTION = 800; // ms in which nobody has seen yet that a dialog is there
let signingIn = null;

/** Asks for the password of the person whose sign-in ended, until it fits. What is unsaved waits meanwhile. */
export function askPassword(root, name, pending) {
  signingIn ??= new Promise((resolve) => showPasswordDialog(root, name, pending, resolve)).finally(() => (signingIn = null));
  return signingIn;
}

function showPasswordDialog(root, name, pending, resolve) {
  const dialog = dialogOf('again');
  const [form, problem] = ['form', '.problem'].map((selector) => dialog.querySelector(selector));
  form.elements.name.value = name;
  form.elements.password.value = '';
  problem.textContent = '';
  const waiting = pending ? ` ${pending} ${pending === 1 ? 'answer waits' : 'answers wait'} in this tab and will be saved then.` : '';
  dialog.querySelector('.kept').textContent = `The sign-in of ${name} has ended.${waiting}`;
  dialog.oncancel = (event) => event.preventDefault();
  const done = () => {
    bus.removeEventListener('state', elsewhere);
    dialog.close();
    root.focus({ preventScroll: true });
    resolve(name);
  };
  const elsewhere = ({ detail: { annotator } }) => {
    if (annotator === name) return done(); // in another tab of this browser
    problem.textContent ||= `${annotator} is signed in now, in another tab. What you type here signs ${name} in instead.`;
  };
  bus.addEventListener('state', elsewhere);
  const opened = performance.now();
  form.onkeydown = (event) => {
    // of a hand that was labeling
    if (event.key.length === 1 && performance.now() - opened < REACTION) event.preventDefault();
  };
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (!form.elements.password.value) return;
    try {
      await call('signin', { name, password: form.elements.password.value });
      done();
      poll();
    } catch (refusal) {
      problem.textContent = refusal.message;
      form.elements.password.select();
      form.elements.password.focus();
    }
  };
  dialog.showModal();
  form.elements.password.focus();
}
