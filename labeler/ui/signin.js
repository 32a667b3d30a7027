// The way in: name and password to the server, then on to the page.

import { call } from './api.js';

const chosen = localStorage.getItem('labeler.theme');
const dark = chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
document.body.classList.toggle('dark', dark);

const form = document.querySelector('form');
const [name, password] = [form.elements.name, form.elements.password];
if (!name.value) {
  name.value = localStorage.getItem('labeler.name') ?? '';
  if (name.value) password.focus(); // not where somebody has begun to type the name
}
form.querySelector('button').disabled = false; // a form sent without this script would go nowhere

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const [button, problem] = [form.querySelector('button'), form.querySelector('.problem')];
  button.disabled = true;
  problem.textContent = '';
  try {
    const { annotator } = await call('signin', { name: name.value, password: password.value });
    localStorage.setItem('labeler.name', annotator);
    location.replace('/');
  } catch (refusal) {
    problem.textContent = refusal.message;
    password.select();
    password.focus();
  } finally {
    button.disabled = false;
  }
});
