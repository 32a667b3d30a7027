"""Which classes an image stays in when it is mirrored: found out, not asked.

A network that has never seen a mirrored image takes one for its own class where left and right mean nothing, as in a
coat, and for another where they do, as in most digits. It is trained on mirrored images of the first kind alone.
"""

import numpy as np
import torch

from model.device import Device
from model.features import to_unit
from model.ssvae import SSVAE

LOOKED_AT = 100  # images of each class, at most
LEAST = 10  # of them must be there and surely predicted
SURE = 0.8
AGREE = 0.95  # share of the sure ones that must be seen as the same class mirrored


@torch.inference_mode()
def keeps_class(
    vae: SSVAE, images: np.ndarray, classes: np.ndarray, device: Device, rng: np.random.Generator
) -> torch.Tensor:
    """(C,) bool: mirrored, this class stays what it is. `images` uint8 (n, S, S[, 3]), what they are taken for (n,)."""
    found = torch.zeros(vae.config.n_classes, dtype=torch.bool)
    for k in range(len(found)):
        some = rng.permutation(np.flatnonzero(classes == k))[:LOOKED_AT]
        if len(some) < LEAST:
            continue
        x = to_unit(images[np.sort(some)], device)
        with device.autocast():
            probs, mirrored = vae.encode(torch.cat([x, x.flip(3)])).logits.softmax(1).cpu().chunk(2)
        sure = (probs.argmax(1) == k) & (probs[:, k] > SURE)
        found[k] = int(sure.sum()) >= LEAST and bool((mirrored[sure].argmax(1) == k).float().mean() >= AGREE)
    return found
