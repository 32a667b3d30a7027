"""The learner: one network that takes gradient steps on labeled and unlabeled images together, and never starts over.

It begins with a warm-up without labels (ELBO and contrast). Each label that arrives is put into the next steps'
batches, spread over the neighbour graph, and stays. What is published is the running mean (EMA) of the weights.
"""

import copy
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from model import generation, graph, mirror, objective
from model.adversary import Adversary
from model.augment import augment, augment_vectors
from model.checkpoint import Model
from model.columns import FITTED_ON, Sources, fit_classifier, folded, same_columns, with_columns
from model.critic import Critic, shifted
from model.device import Device, Pause, StepWatch, best_device, no_pause
from model.features import Features, as_trained_on, config_for, to_unit
from model.generation import Mixtures
from model.head import Head
from model.instant import EQUAL_SAY, Instant
from model.networks import perceptual_layers
from model.objective import PAPER, Objective
from model.pseudo_labels import PseudoLabels
from model.schedule import affordable, forcing, kl_share, labeled_share, supervision, warm_up_steps
from model.ssvae import SSVAE, sample_z

FEATURES_LAST = 150  # steps after which the graph takes no feature as it is; the EMA of the weights moves slowly
EXPLODED = 1000  # times the usual loss: a new label, or a term that sets in, raises it by less than ten times
CONTRASTED = 1.5  # times the batch, in the warm-up: contrast tells each image from all others of its batch
DECODED = 0.75  # share of the batch: the encoder learns from more images than the decoder, which costs as much
MIXTURES_LAST = 30  # steps after which each class's mixture is fitted anew: half of what a version costs
FRESH = 10  # steps that must have had a new label in their batch before it counts as learned


@dataclass(frozen=True)
class LearnerConfig:
    objective: Objective = field(default_factory=Objective)
    batch: int = 128  # images of a step; fewer where an image has more pixels, see schedule.py
    labeled_batch: int = 32  # labeled ones of these at least; more as their share grows, see schedule.py
    partial_batch: int = 32  # images of a step on which the perceptual and the cycle term are taken
    lr: float = 1e-3
    weight_decay: float = 1e-3
    ema: float = 0.995
    flip: bool | None = None  # whether a mirrored image keeps its class; None: found out for each, see mirror.py
    warm_up_steps: int | None = None  # None: by the number of images, see schedule.py
    graph_size: int = 20_000
    graph_every: int = 300  # steps between two graphs
    settle_least: int = 300  # steps after the last change before training may rest
    settle_most: int = 2000  # and at most


def _must_exist(labels: dict[int, int], n_images: int, n_classes: int) -> None:
    for position, label in labels.items():
        if not (isinstance(position, Integral) and 0 <= position < n_images):
            raise ValueError(f"there is no image {position!r}: positions are 0 to {n_images - 1}")
        if not (isinstance(label, Integral) and 0 <= label < n_classes):
            raise ValueError(f"the label of image {position} is {label!r}: classes are 0 to {n_classes - 1}")


@torch.no_grad()
def follow(mean: nn.Module, network: nn.Module, decay: float) -> None:
    """The running mean of a network's weights and statistics one step on."""
    pairs = zip(mean.state_dict().values(), network.state_dict().values(), strict=True)
    floats = [(a, b) for a, b in pairs if a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], 1 - decay)


class Learner:
    """images uint8 (N, S, S) or (N, S, S, 3), or vectors float (N, D); with a `vae` of one's own, whatever it takes.

    `held_out` (N,) bool: never trained on, neither image nor label. A label is a class index. Positions are rows of
    `images`; what they mean outside is the caller's affair. `pause` is called in the middle of each step and
    between the parts of longer work. ValueError for arrays that nothing can be learned from.
    """

    def __init__(
        self,
        images: np.ndarray,
        n_classes: int,
        held_out: np.ndarray | None = None,
        config: LearnerConfig | None = None,
        rng_seed: int = 0,
        device: Device | None = None,
        vae: SSVAE | None = None,
        pause: Pause = no_pause,
    ):
        self.config = config or LearnerConfig()
        self.device, self._pause = device or best_device(), pause
        images = self._given = images if isinstance(images, np.ndarray) else np.asarray(images)
        self.held_out = np.zeros(len(images), bool) if held_out is None else np.asarray(held_out)
        if self.held_out.dtype != bool or self.held_out.shape != (len(images),):
            raise ValueError(f"held_out is {self.held_out.dtype} {self.held_out.shape}; expected bool ({len(images)},)")
        if n_classes < 1:
            raise ValueError(f"the model needs at least 1 class, got {n_classes}")
        self.trainable = np.flatnonzero(~self.held_out)
        if len(self.trainable) < 2:
            raise ValueError(f"the model needs at least 2 images to learn from, got {len(self.trainable)}")
        self.rng = np.random.default_rng(rng_seed)
        self.generator = torch.Generator(self.device.name).manual_seed(rng_seed)
        torch.manual_seed(rng_seed)  # the initial weights: torch's layers take no generator
        self.watch = StepWatch()
        self.step = 0
        self.warm_up_steps = (
            warm_up_steps(len(self.trainable)) if self.config.warm_up_steps is None else self.config.warm_up_steps
        )
        self.labels: dict[int, int] = {}  # position -> class
        self.steps_with: dict[int, int] = {}  # position -> steps whose batch held its present label
        self._changed = False
        self._took_over = False  # a network that may know classes from labels which it was not told of yet
        self.losses: dict[str, float] = {}  # running mean of each term
        self.parts: dict[str, float] = {}  # and of what the ELBO is made of: log_px, kl_z, kl_y
        self._elbo_parts: dict[str, torch.Tensor] = {}  # of the newest batch
        self._usual_loss: float | None = None  # running mean of the size of the sum
        self.step_seconds = 0.0
        self.graph: graph.Graph | None = None
        self.pseudo_labels = PseudoLabels()  # of the graph's nodes, and so what unlabeled images teach
        self._spread: set[int] = set()  # positions whose label the graph was told
        self._graph_due = 0
        vae = vae or SSVAE(config_for(images, n_classes))
        if vae.config.n_classes != n_classes:
            raise ValueError(f"the network given is for {vae.config.n_classes} classes, not {n_classes}")
        if vae.lacks_units:
            vae.standardise_by(images[self.trainable])
        self._start(vae)

    def _start(self, vae: SSVAE) -> None:
        """Take `vae` as the present weights, with a fresh optimiser; features and graph follow when needed."""
        c = vae.config
        self.images = as_trained_on(self._given, vae)
        self.vae = vae.to(self.device.torch)
        for name, weights in self.vae.named_parameters():
            weights.requires_grad_(name not in vae.frozen)
        parts = [part for part in self.vae.modules() if next(part.parameters(), None) is not None]
        self._frozen = [part for part in parts if not any(weights.requires_grad for weights in part.parameters())]
        nn.utils.convert_conv2d_weight_memory_format(self.vae, torch.channels_last)
        self.ema = copy.deepcopy(self.vae).requires_grad_(False).eval()
        on_cpu_or_cuda = self.device.name in ("cpu", "cuda")
        self.optimizer = torch.optim.AdamW(
            self.vae.parameters(),
            self.config.lr,
            betas=(0.9, 0.99),
            weight_decay=self.config.weight_decay,
            fused=on_cpu_or_cuda,
        )
        self.adversary = Adversary(c.z_dim, c.n_classes).to(self.device.torch)
        self.critic = self._new_critic()
        self.confidence = torch.tensor(1 / c.n_classes, device=self.device.torch)  # running mean of the largest q(y|x)
        self.mirrored = torch.full((c.n_classes,), bool(self.config.flip))  # classes that a mirrored image keeps
        self.mixtures = generation.from_prior(self.ema.prior_mu, self.ema.prior_logvar)
        self._mixtures_of: tuple[int, set[int]] | None = None  # step at which they were fitted, classes with a label
        self.features = Features(self.images, c.h_dim, self.device, self._pause)
        self._graph_due = self.step

    def _new_critic(self) -> Critic | None:
        if not (self.config.objective.critic and self.vae.config.is_image):
            return None
        with torch.no_grad():
            layers = perceptual_layers(self.ema.trunk, to_unit(self.images[:1], self.device))
        return Critic([layer.shape[1] for layer in layers]).to(self.device.torch)

    @property
    def n_classes(self) -> int:
        return self.vae.config.n_classes

    @property
    def _batch(self) -> int:
        return affordable(self.config.batch, self.vae.config.shape)

    @property
    def warming_up(self) -> bool:
        return self.step < self.warm_up_steps

    @property
    def finding_classes(self) -> bool:
        """Too few labels for pseudo-labels: a class without a label would be taught to be one of the others."""
        return len(self.labels) < 2 * self.n_classes and len(set(self.labels.values())) < self.n_classes

    def resume(self, vae: SSVAE, step: int, sources: Sources | None = None, mixtures: Mixtures | None = None) -> None:
        """Go on from a copy of a published network, and perhaps its mixtures.

        `sources` (model/columns.py) where its classes are others than ours; without them it may know fewer.
        """
        shape, old = vae.config.shape, vae.config.n_classes
        if (shape, vae.config.likelihood) != (self.vae.config.shape, self.vae.config.likelihood):
            raise ValueError(f"the stored model sees x of shape {shape}, this project {self.vae.config.shape}")
        if sources is None and old > self.n_classes:
            raise ValueError(f"the network knows {old} classes and we {self.n_classes}: say which of them are ours")
        sources = sources or [[i] if i < old else [] for i in range(self.n_classes)]
        vae, mass = self._with_columns(copy.deepcopy(vae), sources)
        self.step = step
        self._start(vae)
        self._took_over = True
        if mixtures is not None:
            self.mixtures = mixtures.with_columns(sources, mass, self.mixtures)

    def reclass(self, sources: Sources) -> None:
        """Go on with other classes in the middle of training: see model/columns.py. The labels are to be set anew.

        Features, graph and the place in the warm-up stay as they are.
        """
        (vae, _), (ema, mass) = (self._with_columns(network, sources) for network in (self.vae, self.ema))
        kept = self.features, self._graph_due
        mixtures, mirrored = self.mixtures, self.mirrored
        self._start(vae)
        self.ema = ema.requires_grad_(False).eval()
        self.features, self._graph_due = kept
        prior = generation.from_prior(self.ema.prior_mu, self.ema.prior_logvar)
        self.mixtures = mixtures.with_columns(sources, mass, prior)
        self.mirrored = torch.stack([mirrored[list(of)].all() if of else self.mirrored[0] for of in sources])
        self.labels, self.steps_with = {}, {}
        self.pseudo_labels.probs, self._changed, self._took_over = None, True, True

    def _with_columns(self, vae: SSVAE, sources: Sources) -> tuple[SSVAE, np.ndarray]:
        """The network for other classes, and the mass (C,) of its old ones: the mean of q(y|x) over some images."""
        old = vae.config.n_classes
        if same_columns(sources, old):
            return vae, np.ones(old)
        vae = vae.to(self.device.torch)
        some = np.sort(self.rng.permutation(self.trainable)[:FITTED_ON])
        features = Features(as_trained_on(self._given[some], vae), vae.config.h_dim, self.device)
        features.refresh(vae, np.arange(len(some)), self.step)
        probs = features.probs(vae)
        mass = probs.mean(0)
        made = with_columns(vae, sources, mass)
        if any(len(of) > 1 for of in sources):
            fit_classifier(made, features.h, folded(probs, sources), sources)
        return made, mass

    # ---------- labels ----------
    def set_labels(self, labels: dict[int, int]) -> bool:
        """position -> class of all that is labeled now; corrections and retractions included. True if it changed.

        ValueError for a position or a class that does not exist.
        """
        _must_exist(labels, len(self.images), self.n_classes)
        labels = {i: y for i, y in labels.items() if not self.held_out[i]}
        if labels == self.labels and not self._took_over:
            return False
        self._took_over = False
        self.steps_with = {i: self.steps_with.get(i, 0) if self.labels.get(i) == y else 0 for i, y in labels.items()}
        self.labels, self._changed = labels, True
        if not labels:
            self._forget_classes()
        return True

    def _forget_classes(self) -> None:
        """No label is left, so that no term would take back what the classification layer learned from them."""
        for layer in (self.vae.classifier, self.ema.classifier):
            for parameter in layer.parameters():
                parameter.data.zero_()
                self.optimizer.state.pop(parameter, None)
        self.confidence.fill_(1 / self.n_classes)

    def count_as_learned(self, positions: set[int]) -> None:
        """The present labels of these were in the batches of the network that this learner goes on from."""
        self.steps_with = {i: FRESH if i in positions else n for i, n in self.steps_with.items()}

    def unlearned(self) -> int:
        """Steps to go until every label was in the batches of at least FRESH of them (if all of the new fit in one)."""
        return max((FRESH - n for n in self.steps_with.values() if n < FRESH), default=0)

    def lacks_steps(self, position: int) -> bool:
        """Whether the label of this image still has to be in more batches; False once it is gone."""
        return self.steps_with.get(position, FRESH) < FRESH

    def labeled_size(self, labels: int) -> int:
        """How many of a batch are labeled where so many of the images are."""
        return max(self.config.labeled_batch, round(labeled_share(labels, len(self.trainable)) * self._batch))

    def _labeled_positions(self) -> np.ndarray:
        """One batch: new labels first, up to three quarters of it; the rest at random from all."""
        all_labeled = np.fromiter(self.labels, np.int64, len(self.labels))
        steps = np.fromiter((self.steps_with[i] for i in all_labeled), np.int64, len(all_labeled))
        size = self.labeled_size(len(self.labels))
        fresh = self.rng.permutation(all_labeled[steps < FRESH])[: size * 3 // 4]
        batch = np.concatenate([fresh, self.rng.choice(all_labeled, size - len(fresh))])
        for i in set(batch.tolist()):
            self.steps_with[i] += 1
        return batch

    # ---------- one step ----------
    def take_step(self) -> None:
        """One gradient step on everything known now."""
        begun = time.perf_counter()
        early = self.warming_up or self.finding_classes
        if self.labels and not early:
            self._keep_graph()
        with_graph = time.perf_counter() - begun
        self.vae.train()
        for part in self._frozen:
            part.eval()
        terms = self._terms(early)
        forward = time.perf_counter()
        self._pause()
        begun += time.perf_counter() - forward
        loss = torch.stack([weight * value for weight, value in terms.values()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._must_be_sound(loss)
        self.optimizer.step()
        self.step += 1
        self._follow()
        of_terms = {name: value for name, (_, value) in terms.items()}
        for means, values in ((self.losses, of_terms), (self.parts, self._elbo_parts)):
            for name, value in values.items():
                now = value.item()
                means[name] = 0.98 * means.get(name, now) + 0.02 * now
        self.step_seconds = time.perf_counter() - begun
        self.watch.saw(self.step_seconds - with_graph)  # a new graph is no disturbance

    def _must_be_sound(self, loss: torch.Tensor) -> None:
        """FloatingPointError, before the weights are touched, for a loss or a gradient that would spoil them."""
        gradients = [p.grad for p in self.vae.parameters() if p.grad is not None]
        value, norm = torch.stack([loss.detach(), nn.utils.get_total_norm(gradients)]).tolist()
        for name, figure in (("loss", value), ("norm of the gradient", norm)):
            if not math.isfinite(figure):
                raise FloatingPointError(f"the {name} is {figure} at step {self.step}")
        usual = max(1.0, abs(value) if self._usual_loss is None else self._usual_loss)
        if abs(value) > EXPLODED * usual:
            raise FloatingPointError(f"the loss is {value:.3g}, usually {usual:.3g}, at step {self.step}")
        self._usual_loss = 0.98 * usual + 0.02 * abs(value)

    def _terms(self, early: bool) -> dict[str, tuple[float, torch.Tensor]]:
        """name -> (weight, mean over the batch). `early`: contrast, and no term that trusts a guess of the class."""
        o, n_classes = self.config.objective, self.n_classes
        labeled = self._labeled_positions() if self.labels else np.empty(0, np.int64)
        n = len(labeled)
        size = round(CONTRASTED * self._batch) if early else self._batch
        rows, unlabeled = self._unlabeled_batch(max(size - n, self._batch // 4))
        x = to_unit(self.images[np.concatenate([labeled, unlabeled])], self.device)  # (n + B, C, H, W)
        y_labeled = torch.tensor([self.labels[i] for i in labeled.tolist()], dtype=torch.long, device=x.device)
        moved = self._augmented(x, None if early else torch.cat([y_labeled.cpu(), self.pseudo_labels.of(rows)[0]]))
        with self.device.autocast():
            encoding = self.vae.encode(torch.cat([x, moved]))
            mu, logvar = encoding.mu[: len(x)], encoding.logvar[: len(x)]
            clean, other = encoding.logits.split(len(x))
            probs = clean[n:].softmax(1)
            y_unlabeled = torch.full_like(probs, 1 / n_classes) if early else probs
            y = torch.cat([self.vae.one_hot(y_labeled), y_unlabeled])
            z = sample_z(mu, logvar, self.generator)
            shown = torch.from_numpy(self.rng.permutation(len(x))[: round(DECODED * self._batch)]).to(x.device)
            x_shown, pixel_logits = x[shown], self.vae.decode(z[shown], y[shown])

        beta = 1.0 if early else o.beta
        if self.vae.config.is_image and o != PAPER:
            beta *= kl_share(x[0].numel())
        scale = min(1.0, 784 / x[0].numel())  # one balance of the terms for every image size
        kl_z = objective.kl_z(mu, logvar, y, self.vae.prior_mu, self.vae.prior_logvar)
        kl_y = objective.kl_y(y_unlabeled)
        kl = torch.cat([kl_z[:n], kl_z[n:] + kl_y])
        log_px = self.vae.log_px(pixel_logits, x_shown).mean()
        terms = {"elbo": (-scale, log_px - beta * kl.mean())}
        self._elbo_parts = {"log_px": log_px.detach(), "kl_z": kl_z.detach().mean(), "kl_y": kl_y.detach().mean()}
        if early and o.contrast:
            heads = self.vae.contrast(encoding.h.float())
            terms["contrast"] = (o.contrast, objective.contrast(heads[len(x) + n :], heads[n : len(x)]))
        if not n:
            return terms
        views = (objective.supervised(clean[:n], y_labeled) + objective.supervised(other[:n], y_labeled)) / 2
        terms["supervised"] = (o.supervised * supervision(len(self.labels), len(self.trainable)), views)
        if early:
            return terms
        trust = self.pseudo_labels.trust.weight
        self.confidence.lerp_(probs.detach().max(1).values.mean(), 0.02)
        if o.consistency:
            terms["consistency"] = (trust * o.consistency, objective.consistency(other[n:], probs, self.confidence))
        if o.propagation and self.graph is not None:
            pseudo, sure = (of.to(x.device) for of in self.pseudo_labels.of(rows))
            fading = 1 + len(self.labels) / (EQUAL_SAY * n_classes)  # with many labels the network knows better
            terms["propagation"] = (trust * o.propagation / fading, objective.propagation(other[n:], pseudo, sure))
        if o.perceptual or self.critic is not None:
            part = slice(self.config.partial_batch)
            drawn, real = self._layers_of(self.vae.expected(pixel_logits[part]), x_shown[part])
            if o.perceptual:
                terms["perceptual"] = (o.perceptual, objective.perceptual(drawn, real))
            if self.critic is not None:  # the smaller an image, the fewer the nats that it is weighed against
                with self.device.autocast():
                    doubt = self.critic.doubt(drawn, real)
                terms["critic"] = (o.critic * min(1.0, x[0].numel() / 784), doubt)
        if o.cycle:
            terms["cycle"] = (o.cycle * forcing(len(self.labels), n_classes), self._cycle(mu, logvar))
        if o.adversary:
            terms["adversary"] = (-o.adversary, self.adversary.doubt(z, torch.cat([y_labeled, probs.argmax(1)])))
        return terms

    def _unlabeled_batch(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """(rows of the graph, positions); without a graph the rows mean nothing."""
        drawn_from = self.trainable if self.graph is None or self.warming_up else self.graph.positions
        n = len(drawn_from)
        size = min(size, max(16, n))
        # Not twice where it can be helped: contrast takes the second copy for another image.
        rows = self.rng.choice(n, size, replace=size > n, shuffle=False)
        return rows, drawn_from[rows]

    def _augmented(self, x: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """`classes` (B,) that the images are taken for, on the CPU; None where nobody can tell."""
        if self.vae.config.likelihood == "gaussian":
            return augment_vectors(x, self.generator)
        return augment(x, self.generator, bool(self.config.flip) if classes is None else self.mirrored[classes])

    def _layers_of(self, drawn: torch.Tensor, real: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """What the layers of the EMA encoder give for drawings and for the images that they are of."""
        if self.critic is not None and drawn.dim() == 4:
            drawn, real = shifted(drawn, real, generator=self.generator)
        with self.device.autocast():
            of_drawn = perceptual_layers(self.ema.trunk, drawn)
            with torch.no_grad():
                return of_drawn, perceptual_layers(self.ema.trunk, real)

    def _cycle(self, mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
        """z decoded as a class drawn at random; the EMA classifier, frozen, must see that class."""
        some = torch.from_numpy(self.rng.permutation(len(mu))[: self.config.partial_batch]).to(mu.device)
        asked = torch.from_numpy(self.rng.integers(self.n_classes, size=len(some))).to(mu.device)
        with self.device.autocast():
            z = sample_z(mu[some], logvar[some], self.generator)
            drawn = self.vae.expected(self.vae.decode(z, self.vae.one_hot(asked)))
            seen = self.ema.encode(self._augmented(drawn, asked.cpu())).logits
        return F.cross_entropy(seen, asked)

    def _follow(self) -> None:
        """EMA weights and normalisation statistics one step on; faster in the first steps."""
        follow(self.ema, self.vae, min(self.config.ema, (self.step + 1) / (self.step + 10)))

    # ---------- the neighbour graph ----------
    def build_graph(self) -> None:
        """A new graph over the labeled and other images, at random, with features of the newest weights.

        Its cost grows with the square of its nodes, so of more labeled images than half of it holds some are left out.
        """
        labeled, left_out = np.fromiter(self.labels, np.int64, len(self.labels)), graph.NONE
        others = self.rng.permutation(np.setdiff1d(self.trainable, labeled))
        room = max(self.config.graph_size // 2, self.config.graph_size - len(others))
        if len(labeled) > room:
            labeled, left_out = np.split(self.rng.permutation(labeled), [room])
        positions = np.concatenate([labeled, others[: self.config.graph_size - len(labeled)]])
        stale = self.step - self.features.refreshed_at[positions] > FEATURES_LAST
        self.features.refresh(self.ema, positions[stale], self.step)
        self.graph = graph.build(positions, self.features.h[torch.from_numpy(positions)], left_out, pause=self._pause)
        self.pseudo_labels.probs = None
        self._graph_due = self.step + self.config.graph_every
        self.spread_labels()
        if self.config.flip is None and self.vae.config.is_image and self.pseudo_labels.probs is not None:
            images, classes = self.images[positions], self.pseudo_labels.probs.argmax(1)
            self.mirrored = mirror.keeps_class(self.ema, images, classes, self.device, self.rng)

    def spread_labels(self) -> None:
        """Propagate the present labels over the present graph."""
        self._changed = False
        if self.graph is None or not self.labels:
            self.pseudo_labels.probs = None
            return
        rows, labels, inside = self._placed(self.graph, self.labels)
        self._compare(self.graph, rows, labels)
        self.pseudo_labels.spread(self.graph, rows, labels, inside, self.n_classes)

    def _compare(self, nodes: graph.Graph, rows: np.ndarray, labels: np.ndarray) -> None:
        """Labels that neither graph nor network was told, with what both say of their images without them."""
        positions = np.fromiter(self.labels, np.int64, len(self.labels))
        positions = positions[~np.isin(positions, nodes.left_out)]  # as `placed` has them
        new = np.array([self.steps_with[p] == 0 and p not in self._spread for p in positions.tolist()], bool)
        self._spread = set(self.labels)
        if new.any():
            of_network = self.own_layer.probs(self.features.h[torch.from_numpy(positions[new])])
            self.pseudo_labels.compare(nodes, rows, labels, new, of_network)

    def _placed(self, nodes: graph.Graph, labels: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`graph.placed` of labels. What was never seen is seen first: its node is found by its features, and kept."""
        labeled = np.setdiff1d(np.fromiter(labels, np.int64, len(labels)), nodes.left_out)
        never_seen = labeled[self.features.refreshed_at[labeled] < 0]
        if len(never_seen):
            self.features.refresh(self.ema, never_seen, self.step)
        return graph.placed(nodes, labels, self.features.h)

    def _keep_graph(self) -> None:
        if self.graph is None or self.step >= self._graph_due:
            self.build_graph()
        elif self._changed:
            self.spread_labels()

    # ---------- at once ----------
    def look(self) -> Instant | None:
        """What ranks and classifies until the next version; None while there is no graph, or without propagation.

        The features of the graph's nodes are brought up to date, those of the others are as old as they are.
        """
        if self.graph is None or not self.config.objective.propagation:
            return None
        positions = self.graph.positions
        stale = self.step - self.features.refreshed_at[positions] > FEATURES_LAST
        self.features.refresh(self.ema, positions[stale], self.step)
        self._pause()
        trust, share = self.pseudo_labels.trust.weight, self.pseudo_labels.network_trust.share
        instant = Instant(self.graph, self.features.h.clone(), self.own_layer, trust, trust + (1 - trust) * share)
        self._pause()
        instant.learn(self.labels)
        return instant

    def finished(self, head: Head | None) -> SSVAE:
        """A copy of the running mean of the weights, as it is published: with the refitted classification layer."""
        vae = copy.deepcopy(self.ema)
        if head is not None:
            head.put_into(vae.classifier)
        return vae

    @property
    def own_layer(self) -> Head:
        """A copy of the classification layer as gradient steps have made it: the running mean of its weights."""
        layer = self.ema.classifier
        return Head(layer.weight.cpu().clone(), layer.bias.cpu().clone())

    # ---------- generation ----------
    def keep_mixtures(self, probs: np.ndarray) -> None:
        """Fit them anew where they are too old, or other classes than then have a label; probs (N, C) of all images."""
        if self._mixtures_of is not None:
            step, labeled = self._mixtures_of
            if self.step - step < MIXTURES_LAST and labeled == set(self.labels.values()):
                return
        self.fit_mixtures(probs)

    def fit_mixtures(self, probs: np.ndarray) -> None:
        """Mixtures of each class over what stands for it in the graph, or in what was seen; probs (N, C) of all."""
        self._mixtures_of = self.step, set(self.labels.values())
        if self.graph is None:
            positions = self.trainable[self.features.refreshed_at[self.trainable] >= 0]
        else:
            positions = self.graph.positions
        prior = generation.from_prior(self.ema.prior_mu, self.ema.prior_logvar)
        if not self.labels or not len(positions):
            self.mixtures = prior
            return
        labels = np.array([self.labels.get(p, -1) for p in positions.tolist()])
        classes = generation.members(probs[positions], labels)
        mu, variance = self.features.latents(self.ema, positions)
        self.mixtures = generation.fit(mu, variance, classes, prior, self.rng, self.mixtures, self._pause)

    def as_model(self, classes: Sequence[str]) -> Model:
        """What would be published now, for somebody who has arrays and no project; `classes` are the names."""
        if len(classes) != self.n_classes:
            raise ValueError(f"{len(classes)} names were given for {self.n_classes} classes")
        if len(set(classes)) < len(classes):
            raise ValueError(f"two classes have the same name: {', '.join(classes)}")
        self.features.refresh(self.ema, np.arange(len(self.images)), self.step)
        if self.graph is None and self.labels:
            self.build_graph()
        instant = self.look()
        head = instant.head if instant is not None else None
        vae = self.finished(head)
        self.fit_mixtures(self.features.probs(vae))
        return Model(vae, self.mixtures, {"classes": list(classes), "labels": len(self.labels), "steps": self.step})
