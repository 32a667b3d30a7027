"""The learner on real 8x8 digits: it learns, both halves of it, and forgets what is retracted."""

import copy
import time

import numpy as np
import pytest
import torch

from model import evaluation, generation, graph, load
from model.checkpoint import Model
from model.learner import FRESH, Learner, LearnerConfig
from model.objective import PAPER, Objective
from model.schedule import forcing, supervision, warm_up_steps
from model.ssvae import SSVAE, VAEConfig

NAMES = [str(k) for k in range(10)]


def as_model(learner: Learner) -> Model:
    learner.features.refresh(learner.ema, np.arange(len(learner.images)), learner.step)
    learner.fit_mixtures(learner.features.probs(learner.ema))
    return Model(learner.ema, learner.mixtures, {"classes": NAMES[: learner.n_classes]})


@pytest.fixture(scope="module")
def trained(digits):
    """60 labels of 1,200 images, 597 held out."""
    images, labels = digits
    held_out = np.arange(len(images)) >= 1200
    learner = Learner(images, 10, held_out, LearnerConfig(warm_up_steps=150), rng_seed=0)
    for _ in range(150):
        learner.take_step()
    learner.set_labels({i: int(labels[i]) for i in range(60)})
    for _ in range(250):
        learner.take_step()
    return learner, as_model(learner)


def test_sixty_labels_and_the_unlabeled_rest_classify_held_out_digits(trained, digits):
    images, labels = digits
    assert evaluation.accuracy(trained[1].predict_proba(images[1200:]), labels[1200:]) > 0.85


def test_an_image_decoded_as_another_class_is_seen_as_that_class(trained, digits, judge):
    """And not once the decoder is deaf to y."""
    images, labels = digits

    def seen_as_asked(model: Model) -> float:
        asked = (labels[1200:] + 1 + np.arange(597) % 9) % 10
        right = [judge.see(model.as_class(images[1200:][asked == k], k))[0].argmax(1) == k for k in range(10)]
        return float(np.concatenate(right).mean())

    learner, model = trained
    assert seen_as_asked(model) > 0.6
    deaf = copy.deepcopy(learner.ema)
    first = deaf.decoder[0]
    assert isinstance(first, torch.nn.Linear)
    with torch.no_grad():
        first.weight[:, -10:] = 0
    assert seen_as_asked(Model(deaf, learner.mixtures, {"classes": NAMES})) < 0.25


def test_small_images_keep_some_style_in_z(trained, digits):
    images, labels = digits[0] / 255, digits[1]
    drawn = [trained[1].generate(k, 100) / 255 for k in range(10)]
    of_drawn = np.mean([each.var(0).mean() for each in drawn])
    of_real = np.mean([images[labels == k].var(0).mean() for k in range(10)])
    assert of_drawn > 0.08 * of_real


def test_generated_digits_are_mostly_seen_as_what_was_asked(trained, digits, judge):
    images, _ = digits
    _, features = judge.see(images[1200:])
    assert evaluation.generated_figures(trained[1], judge, features, per_class=50)["generated_accuracy"] > 0.6


def test_the_paper_objective_has_two_terms_and_learns(digits):
    images, labels = digits
    learner = Learner(images[:600], 10, config=LearnerConfig(objective=PAPER, warm_up_steps=20))
    learner.set_labels({i: int(labels[i]) for i in range(50)})
    for _ in range(120):
        learner.take_step()
    assert set(learner.losses) == {"elbo", "supervised"}
    learner.features.refresh(learner.ema, np.arange(600), learner.step)
    assert evaluation.accuracy(learner.features.probs(learner.ema), labels[:600]) > 0.6


def test_a_new_label_is_in_the_next_ten_batches_and_a_corrected_one_starts_again(digits):
    images, labels = digits
    learner = Learner(images[:300], 10, config=LearnerConfig(warm_up_steps=0, graph_size=200))
    learner.set_labels({i: int(labels[i]) for i in range(40)})
    assert learner.unlearned() == FRESH
    while learner.unlearned():
        learner.take_step()
    assert min(learner.steps_with.values()) >= FRESH
    learner.set_labels({**learner.labels, 77: 3, 5: 9})
    for _ in range(FRESH):
        assert learner.lacks_steps(77)
        assert learner.lacks_steps(5)
        learner.take_step()
    assert (learner.steps_with[77], learner.steps_with[5]) == (FRESH, FRESH)
    learner.set_labels({i: y for i, y in learner.labels.items() if i != 77})
    assert not learner.lacks_steps(77)
    assert 77 not in learner.steps_with


def test_mixtures_are_fitted_again_after_30_steps_and_when_another_class_has_a_label(digits):
    learner = Learner(digits[0][:300], 10, config=LearnerConfig(warm_up_steps=0), rng_seed=0)
    fitted = []

    def kept() -> bool:
        fitted.append(learner.mixtures)
        learner.features.refresh(learner.ema, np.arange(300), learner.step)
        learner.keep_mixtures(learner.features.probs(learner.ema))
        return learner.mixtures is fitted[-1]

    learner.set_labels({0: 3})
    assert not kept()
    learner.step += 29
    learner.set_labels({0: 3, 1: 3})
    assert kept()
    learner.set_labels({0: 3, 1: 4})
    assert not kept()
    learner.step += 30
    assert not kept()


def test_no_guess_is_trusted_until_every_class_has_a_label_or_there_are_two_for_each(digits):
    """Otherwise the first labels teach every unlabeled image to be one of the few classes that are known."""
    learner = Learner(digits[0][:100], 3, config=LearnerConfig(warm_up_steps=1))
    learner.take_step()
    learner.set_labels({0: 0, 1: 1})
    learner.take_step()
    assert set(learner.losses) == {"elbo", "contrast", "supervised"}
    learner.set_labels({0: 0, 1: 1, 2: 2})
    learner.take_step()
    assert {"consistency", "propagation", "cycle"} <= set(learner.losses)
    learner.set_labels(dict.fromkeys(range(5), 0))
    assert learner.finding_classes
    learner.set_labels(dict.fromkeys(range(6), 0))
    assert not learner.finding_classes


def test_more_labels_than_the_graph_has_room_for_leave_half_of_it_to_open_images(digits):
    images, labels = digits
    learner = Learner(images[:150], 10, config=LearnerConfig(warm_up_steps=0, graph_size=60))
    learner.set_labels({i: int(labels[i]) for i in range(100)})
    learner.take_step()
    assert learner.graph is not None
    labeled = learner.graph.positions < 100
    assert (labeled.sum(), len(labeled)) == (30, 60)
    assert set(learner.graph.left_out) == set(range(100)) - set(learner.graph.positions[labeled].tolist())

    open_one = int(learner.graph.positions[~labeled][0])
    outside = next(i for i in range(100, 150) if i not in learner.graph.positions)
    learner.set_labels({**learner.labels, open_one: 7, outside: 3, int(learner.graph.left_out[0]): 9})
    learner.take_step()
    rows, classes, inside = graph.placed(learner.graph, learner.labels, learner.features.h)
    at = dict(zip(rows[inside].tolist(), classes[inside].tolist(), strict=True))
    assert at == {r: learner.labels[p] for r, p in enumerate(learner.graph.positions.tolist()) if p in learner.labels}
    assert classes[~inside].tolist() == [3]
    instant = learner.look()
    assert instant is not None
    instant.learn(learner.labels)
    assert instant.probs().shape == (150, 10)


def test_every_image_labeled_fills_the_graph_with_labeled_ones(digits):
    images, labels = digits
    learner = Learner(images[:100], 10, config=LearnerConfig(warm_up_steps=0, graph_size=60))
    learner.set_labels({i: int(labels[i]) for i in range(100)})
    learner.take_step()
    assert learner.graph is not None
    assert (len(learner.graph.positions), len(learner.graph.left_out)) == (60, 40)


@pytest.mark.parametrize(("n_labels", "times"), [(1, 1.02), (50, 2), (100, 3)])
def test_labels_weigh_the_more_the_larger_their_share_of_the_images(digits, n_labels, times):
    images, labels = digits
    learner = Learner(images[:100], 10, config=LearnerConfig(warm_up_steps=0))
    learner.set_labels({i: int(labels[i]) for i in range(n_labels)})
    assert supervision(n_labels, 100) == pytest.approx(times)
    weight, _ = learner._terms(early=True)["supervised"]
    assert weight == pytest.approx(times * learner.config.objective.supervised)


@pytest.mark.parametrize(("n_labels", "times"), [(20, 1), (40, 0.5), (100, 0.4)])
def test_a_decoder_that_many_labels_teach_is_forced_less_to_heed_y(digits, n_labels, times):
    images, labels = digits
    learner = Learner(images[:120], 2, config=LearnerConfig(warm_up_steps=0))
    learner.set_labels({i: int(labels[i]) % 2 for i in range(n_labels)})
    learner.build_graph()
    assert forcing(n_labels, 2) == pytest.approx(times)
    weight, _ = learner._terms(early=False)["cycle"]
    assert weight == pytest.approx(times * learner.config.objective.cycle)


def test_the_time_of_a_new_graph_does_not_count_as_a_disturbed_step(digits, monkeypatch):
    """It would leave the next eighty steps one thread."""
    learner = Learner(digits[0][:120], 2, config=LearnerConfig(warm_up_steps=0))
    learner.set_labels({i: i % 2 for i in range(8)})
    build, seen = learner.build_graph, []
    monkeypatch.setattr(learner, "build_graph", lambda: (build(), time.sleep(0.2)))
    monkeypatch.setattr(learner.watch, "saw", seen.append)
    learner.take_step()
    assert 0 < seen[0] <= learner.step_seconds - 0.2


def test_a_label_of_an_image_that_was_never_seen_goes_to_the_node_most_like_it(digits):
    images, labels = digits
    learner = Learner(images[:200], 10, config=LearnerConfig(warm_up_steps=0, graph_size=60))
    learner.set_labels({i: int(labels[i]) for i in range(10)})
    learner.build_graph()
    new = next(i for i in range(199, 0, -1) if i not in learner.graph.positions)
    learner.set_labels({**learner.labels, new: int(labels[new])})
    learner.spread_labels()
    learner.features.refresh(learner.ema, np.array([new]), learner.step)
    assert learner.graph.stand_ins == {new: int(learner.graph.nearest(learner.features.h[[new]])[0])}


def test_labels_that_were_all_taken_back_before_a_learner_went_on_are_forgotten(trained, digits):
    learner, model = trained
    later = Learner(digits[0], 10, learner.held_out, LearnerConfig(warm_up_steps=150))
    later.resume(model.vae, learner.step)
    assert later.set_labels({})
    assert not later.set_labels({})
    later.features.refresh(later.ema, np.arange(50), later.step)
    np.testing.assert_allclose(later.features.probs(later.ema, np.arange(50)), 0.1, rtol=1e-5)


def test_a_model_stays_as_it_was_when_training_goes_on(digits):
    learner = Learner(digits[0][:60], 10, config=LearnerConfig(warm_up_steps=1, objective=PAPER))
    learner.set_labels({i: int(digits[1][i]) for i in range(30)})
    learner.take_step()
    model = learner.as_model(NAMES)
    before = model.predict_proba(digits[0][60:70])
    for _ in range(3):
        learner.take_step()
    np.testing.assert_array_equal(model.predict_proba(digits[0][60:70]), before)


def test_of_an_image_that_was_never_seen_every_class_is_as_likely(digits):
    learner = Learner(digits[0][:60], 10, config=LearnerConfig(warm_up_steps=5, graph_size=60))
    learner.vae.classifier.bias.data.normal_()
    learner.features.refresh(learner.vae, np.arange(20), 0)
    probs = learner.features.probs(learner.vae)
    assert (probs[20:] == np.float32(0.1)).all()
    assert (probs[:20].max(1) > 0.11).all()
    np.testing.assert_allclose(learner.features.probs(learner.vae, np.arange(15, 25)), probs[15:25], rtol=1e-5)


def test_mixtures_are_fitted_to_images_that_were_seen(digits):
    """In the warm-up a version sees some of the images; the features of the others are zeros."""
    learner = Learner(digits[0][:300], 10, config=LearnerConfig(warm_up_steps=50))
    learner.set_labels({250: 4, 251: 4})
    learner.take_step()
    learner.features.refresh(learner.ema, np.arange(100), learner.step)
    probs = np.full((300, 10), 0.01, np.float32)
    probs[200:, 4] = 0.91
    learner.fit_mixtures(probs)
    bias = learner.ema.latent.bias.detach().chunk(2)[0]
    assert (learner.mixtures.centres()[4] - bias.cpu()).abs().max() > 1e-3
    learner.features.refreshed_at[:] = -1
    learner.fit_mixtures(probs)
    prior = generation.from_prior(learner.ema.prior_mu, learner.ema.prior_logvar)
    torch.testing.assert_close(learner.mixtures.means, prior.means)


def test_held_out_images_are_in_no_batch_and_their_labels_are_refused(digits):
    images, _ = digits
    held_out = np.arange(200) % 4 == 0
    learner = Learner(images[:200], 2, held_out, LearnerConfig(warm_up_steps=1, graph_size=100))
    learner.set_labels({4: 1, 5: 0, 6: 1})
    assert learner.labels == {5: 0, 6: 1}
    for _ in range(3):
        learner.take_step()
    assert learner.graph is not None
    drawn = np.concatenate([learner.graph.positions, *(learner._unlabeled_batch(50)[1] for _ in range(5))])
    assert not held_out[drawn].any()


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({20: 1}, "no image 20: positions are 0 to 19"),
        ({-1: 1}, "no image -1"),
        ({"cat": 1}, "no image 'cat'"),
        ({0: 3}, "label of image 0 is 3: classes are 0 to 2"),
        ({0: -1}, "label of image 0 is -1"),
        ({0: 1.5}, "label of image 0 is 1.5"),
    ],
)
def test_labels_of_no_image_or_no_class_are_refused_and_change_nothing(digits, labels, says):
    learner = Learner(digits[0][:20], 3, None, LearnerConfig(warm_up_steps=1))
    learner.set_labels({1: np.int64(2)})
    with pytest.raises(ValueError, match=says):
        learner.set_labels(labels | {2: 0})
    assert learner.labels == {1: 2}


@pytest.mark.parametrize(
    ("images", "n_classes", "held_out", "says"),
    [
        (np.zeros((20, 16, 24), np.uint8), 3, None, "expected uint8"),
        (np.zeros((20, 16, 16)), 3, None, "expected uint8"),
        (np.zeros((20, 0)), 3, None, "expected uint8"),
        (np.zeros((20, 16, 16, 4), np.uint8), 3, None, "expected uint8"),
        (np.full((20, 5), np.nan), 3, None, "not finite"),
        (np.zeros((20, 16, 16), np.uint8), 0, None, "at least 1 class"),
        (np.zeros((20, 16, 16), np.uint8), 3, np.zeros(5, bool), "expected bool"),
        (np.zeros((20, 16, 16), np.uint8), 3, [1, 2], "expected bool"),
    ],
)
def test_arrays_that_nothing_can_be_learned_from_are_refused_at_once(images, n_classes, held_out, says):
    with pytest.raises(ValueError, match=says):
        Learner(images, n_classes, held_out)


def test_the_published_file_gives_the_same_answers_anywhere(trained, digits, tmp_path):
    images, _ = digits
    model = trained[1]
    model.save(tmp_path / "m.safetensors")
    loaded = load(tmp_path / "m.safetensors")
    assert loaded.classes == NAMES
    np.testing.assert_allclose(loaded.predict_proba(images[:50]), model.predict_proba(images[:50]), atol=1e-6)
    np.testing.assert_allclose(loaded.generate("3", 4, 7).astype(int), model.generate(3, 4, 7), atol=1)
    np.testing.assert_allclose(loaded.elbo(images[:50]), model.elbo(images[:50]), rtol=1e-4)


def test_a_learner_goes_on_from_a_published_file_and_makes_room_for_a_class(trained, digits, tmp_path):
    images, labels = digits
    learner, model = trained
    model.save(tmp_path / "m.safetensors")
    later = Learner(images, 11, learner.held_out, LearnerConfig(warm_up_steps=150))
    later.resume(load(tmp_path / "m.safetensors").vae, learner.step)
    assert not later.warming_up
    later.features.refresh(later.ema, np.arange(1200, 1797), later.step)
    probs = later.features.probs(later.ema)[1200:]
    assert evaluation.accuracy(probs[:, :10], labels[1200:]) > 0.85
    later.set_labels(dict.fromkeys(range(3), 10))
    later.take_step()


def test_who_goes_on_from_a_network_leaves_it_as_it_is(trained, digits):
    """Of two learners that go on from the same one, the second does not begin with what the first has learned."""
    learner, _ = trained
    before = {name: value.clone() for name, value in learner.ema.state_dict().items()}
    later = Learner(digits[0], 10, learner.held_out, LearnerConfig(warm_up_steps=150))
    later.resume(learner.ema, learner.step)
    later.set_labels({0: 1, 1: 2})
    later.take_step()
    assert all(torch.equal(value, before[name]) for name, value in learner.ema.state_dict().items())
    assert not any(parameter.requires_grad for parameter in learner.ema.parameters())


def test_a_network_of_more_classes_is_taken_only_by_somebody_who_says_which_are_ours(digits):
    learner = Learner(digits[0][:50], 2)
    with pytest.raises(ValueError, match="say which of them are ours"):
        learner.resume(SSVAE(VAEConfig((1, 8, 8), n_classes=3)), 0)


def test_a_loss_that_is_not_finite_is_an_error_and_not_a_version(digits):
    learner = Learner(digits[0][:50], 2, config=LearnerConfig(warm_up_steps=5))
    with torch.no_grad():
        learner.vae.latent.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="step 0"):
        learner.take_step()


@pytest.mark.parametrize(("size", "channels"), [(8, 3), (12, 1), (28, 1), (32, 3), (40, 1), (64, 3)])
def test_images_of_every_size_gray_and_colour_go_through_the_whole_model(size, channels):
    rng = np.random.default_rng(0)
    shape = (40, size, size) if channels == 1 else (40, size, size, 3)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    config = LearnerConfig(warm_up_steps=1, graph_size=30, batch=16, labeled_batch=8, partial_batch=4)
    learner = Learner(images, 3, config=config)
    learner.set_labels({0: 0, 1: 1, 2: 2})
    for _ in range(3):
        learner.take_step()
    assert set(learner.losses) == {name for name, weight in vars(Objective()).items() if weight} - {"beta"} | {"elbo"}
    assert np.isfinite(list(learner.losses.values())).all()
    model = as_model(learner)
    assert model.generate("1", 2, 0).shape == (2, *shape[1:])
    assert model.as_class(images[:3], 2).shape == (3, *shape[1:])
    assert model.embed(images).shape == (40, 32)
    np.testing.assert_allclose(model.predict_proba(images).sum(1), 1, atol=1e-5)
    assert model.strip(2).shape == (3, 2, *shape[1:])


def test_the_model_names_the_known_classes_when_asked_for_another(trained):
    model = trained[1]
    with pytest.raises(KeyError, match="knows 0, 1, 2"):
        model.generate("ten", 1, 0)
    with pytest.raises(KeyError, match="0 to 9"):
        model.as_class(np.zeros((1, 8, 8), np.uint8), 10)
    with pytest.raises(ValueError, match=r"image\[None\]"):
        model.predict_proba(np.zeros((8, 8), np.uint8))


def test_images_of_other_sizes_are_prepared_like_the_pool(trained, digits):
    large = np.repeat(np.repeat(digits[0][:5], 4, 1), 4, 2)
    probs = trained[1].predict_proba([*large, large[0][:, :20]])
    assert probs.shape == (6, 10)
    assert trained[1].predict_proba([]).shape == (0, 10)


def test_no_images_and_a_foreign_file_are_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="at least 2 images"):
        Learner(np.zeros((1, 8, 8), np.uint8), 2)
    (tmp_path / "x.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match="cannot be read"):
        load(tmp_path / "x.safetensors")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.safetensors")


def test_the_warm_up_grows_with_the_images():
    assert [warm_up_steps(n) for n in (2, 1300, 20_000, 60_000)] == [22, 322, 650, 1000]


def test_weights_that_cannot_be_written_are_an_os_error_that_says_where(trained, tmp_path):
    with pytest.raises(OSError, match=r"missing/m\.safetensors could not be written: .*No such file"):
        trained[1].save(tmp_path / "missing" / "m.safetensors")
