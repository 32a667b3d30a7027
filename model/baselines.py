"""What the semi-supervised model is measured against: the same network on labels alone, and without any label."""

import copy
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from torch import nn

from model import generation, mirror, objective
from model.augment import augment
from model.checkpoint import Model
from model.device import best_device
from model.features import Features, as_trained_on, to_unit
from model.learner import Learner, follow

MIRRORED_EVERY = 300  # steps, as often as a learner builds a graph and asks which classes a mirrored image keeps
# what labels_alone takes from the learner's settings, and how many of the steps are before it
USED_OF_CONFIG = ("lr", "weight_decay", "ema", "flip", "batch", "labeled_batch", "warm_up_steps")
CLUSTERED = 20_000  # images, at most


def labels_alone(
    learner: Learner,
    labels: Mapping[int, int],
    classes: Sequence[str],
    rng_seed: int,
    steps: int,
    on_step: Callable[[int, int], None],
) -> Model:
    """Trunk and classification layer of an untrained `learner`, trained on the labeled images alone.

    Optimiser, augmentation, running mean of the weights and the number of labeled images in a step are the learner's,
    and so are the initial weights; which classes stay what they are when mirrored is found by the labeled images.
    labels: position -> class. Decoder and latent layers stay as they came.
    """
    rng, device = np.random.default_rng(rng_seed), learner.device
    generator = torch.Generator(device.name).manual_seed(rng_seed)
    vae, ema, config = learner.vae, learner.ema, learner.config
    optimizer = torch.optim.AdamW(
        [*vae.trunk.parameters(), *vae.classifier.parameters()],
        config.lr,
        betas=(0.9, 0.99),
        weight_decay=config.weight_decay,
    )
    positions = np.fromiter(labels, np.int64, len(labels))
    y = torch.tensor(list(labels.values()), device=device.torch)
    mirrored = torch.full((len(classes),), bool(config.flip))  # as the learner finds it, by the labeled images alone
    vae.train()
    for step in range(1, steps + 1):
        if config.flip is None and vae.config.is_image and step % MIRRORED_EVERY == 0:
            mirrored = mirror.keeps_class(ema, learner.images[positions], np.array(list(labels.values())), device, rng)
        some = rng.integers(len(positions), size=learner.labeled_size(len(labels)))
        x = to_unit(learner.images[positions[some]], device)
        with device.autocast():
            h = vae.trunk(torch.cat([x, augment(x, generator, mirrored[y[torch.from_numpy(some)].cpu()])]))
            logits = vae.classifier(h).float()
        loss = objective.supervised(logits, y[torch.from_numpy(some)].repeat(2))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        follow(ema, vae, min(config.ema, step / (step + 9)))
        on_step(step, steps)
    return Model(ema, learner.mixtures, {"classes": list(classes), "labels": len(labels), "steps": steps})


def network_alone(learner: Learner, classes: Sequence[str]) -> Model:
    """The running mean of the weights as it is, without the classification layer that the graph refits."""
    learner.features.refresh(learner.ema, learner.trainable, learner.step)
    learner.fit_mixtures(learner.features.probs(learner.ema))
    header = {"classes": list(classes), "labels": len(learner.labels), "steps": learner.step}
    return Model(learner.finished(None), learner.mixtures, header)


@torch.no_grad()
def without_labels(learner: Learner, classes: Sequence[str], rng_seed: int) -> Model:
    """A plain VAE: what a learner without labels has learned, undisturbed by the parts that labels would have taught.

    Its classifier and its class inputs saw one constant y. So q(y|x) is that constant, every y decodes as it does,
    and each class draws from one and the same mixture of all images.
    """
    vae = copy.deepcopy(learner.ema)
    nn.init.zeros_(vae.classifier.weight)
    nn.init.zeros_(vae.classifier.bias)
    y_columns = vae.decoder.get_parameter("0.weight")[:, -vae.config.n_classes :]
    y_columns.copy_(y_columns.mean(1, keepdim=True).expand_as(y_columns))
    learner.features.refresh(vae, learner.trainable, learner.step)
    mu, variance = learner.features.latents(vae, learner.trainable)
    prior = generation.from_prior(vae.prior_mu, vae.prior_logvar)
    one = generation.fit(mu, variance, np.zeros(len(mu), int), prior, np.random.default_rng(rng_seed))
    same = [tensor[:1].repeat(len(tensor), *[1] * (tensor.dim() - 1)) for tensor in one.tensors().values()]
    return Model(vae, generation.Mixtures(*same), {"classes": list(classes), "labels": 0, "steps": learner.step})


@torch.inference_mode()
def clustering_accuracy(
    model: Model, images: np.ndarray, test_images: np.ndarray, test_labels: np.ndarray, rng_seed: int = 0
) -> float:
    """Accuracy on the test images of as many clusters as there are classes, each taken for the class that fits best.

    k-means on the topmost layer of `images`, centred and of length one as in the neighbour graph; clusters are
    matched to classes one to one on the test images (Xie et al. 2016, eq. 10).
    """
    rng, n_classes = np.random.default_rng(rng_seed), len(model.classes)
    some = np.sort(rng.permutation(len(images))[:CLUSTERED])
    h, test_h = _topmost(model, images[some]), _topmost(model, test_images)
    mean = h.mean(0)
    kmeans = KMeans(n_classes, n_init=3, random_state=int(rng.integers(2**31))).fit(F.normalize(h - mean).numpy())
    clusters = kmeans.predict(F.normalize(test_h - mean).numpy())
    together = np.zeros((n_classes, n_classes), int)
    np.add.at(together, (clusters, test_labels), 1)
    return float(together[linear_sum_assignment(-together)].sum() / len(test_labels))


def _topmost(model: Model, images: np.ndarray) -> torch.Tensor:
    features = Features(as_trained_on(images, model.vae), model.vae.config.h_dim, best_device())
    features.refresh(model.vae, np.arange(len(images)), 0)
    return features.h.float()
