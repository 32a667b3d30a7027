"""How much of what, by how many images and labels there are: functions of the numbers alone."""

import math

SMALL = 200  # values of an image: about 14x14 in gray


def warm_up_steps(n_images: int) -> int:
    """A step for each of the first few hundred images, 1,000 from 40,000 images on."""
    return int(min(20 + n_images, 300 + 700 * n_images / 40_000, 1000))


def labeled_share(labels: int, images: int) -> float:
    """Share of a batch that is labeled: the root of that of the images, so that neither kind is seen too rarely."""
    return min((labels / images) ** 0.5, 0.75)


def supervision(labels: int, images: int) -> float:
    """What the weight of the supervised term is multiplied with: 1 with few labels, 3 where every image has one."""
    return 1 + 2 * labels / images


def forcing(labels: int, n_classes: int) -> float:
    """What the weight of the cycle term is multiplied with: 1 up to ten labels a class, .4 from 25 a class on.

    A decoder that many labels teach what each class looks like needs less force to heed y, and the force costs ELBO.
    """
    return max(0.4, min(1.0, 10 * n_classes / max(labels, 1)))


def kl_share(values: int) -> float:
    """What the KL terms of an image of so many values are multiplied with: less than 1 below SMALL.

    So few pixels of a Bernoulli likelihood say less than a z costs, so that z would be left empty and all drawings of a
    class one image: docs/decisions/0048.
    """
    return min(1.0, values / SMALL)


def affordable(batch: int, shape: tuple[int, ...]) -> int:
    """`batch` for x of up to 32x32 pixels in colour; fewer of larger ones, by the root of how much larger they are."""
    larger = max(1.0, math.prod(shape) / (3 * 32 * 32))
    return min(batch, max(32, int(batch / larger**0.5)))
