// A question: what may be shown of it, what is kept of it, what its answer carries.

import { uid } from './api.js';

/** Why an image has no hints, '' for one that has. The model has learned what others said of an image. */
export function withoutHints({ purpose, blind }) {
  if (purpose === 'measure') return 'No hints here: this image measures accuracy';
  return blind ? 'No hints here: this image is asked of several people' : '';
}

/** A question without its pictures, as it can be kept. */
export function plain({ picture, drawing, ...question }) {
  return question;
}

/** What an answer carries of the question it answers, with an id of its own. */
export function operation(kind, question, more) {
  const { version, acquisition, score, rank, guess, probs, purpose } = question;
  const known = { version, acquisition, score, rank, predicted_class_id: guess, predicted_prob: probs?.[guess], purpose };
  const told = Object.entries(known).filter(([, value]) => value !== undefined && value !== null);
  return { uid: uid(), kind, sample_id: question.sample_id, ...more, ...Object.fromEntries(told) };
}
