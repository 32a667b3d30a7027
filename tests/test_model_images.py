"""Working size and the square that an image is fitted into."""

import re
import tracemalloc

import numpy as np
import pytest

from model.images import fit, fit_all, working_size


def test_the_working_size_holds_the_median_image():
    assert [working_size(sizes) for sizes in ([3], [8], [9, 9, 200], [28], [30], [33], [50], [4000])] == [
        8, 8, 12, 28, 32, 40, 56, 64,
    ]  # fmt: skip


def test_an_image_of_the_working_size_is_left_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    assert fit(image, 28, 1) is image


def test_a_wide_image_is_padded_with_its_border_and_not_stretched():
    image = np.full((10, 20), 200, np.uint8)
    image[3:7, 8:12] = 0
    square = fit(image, 20, 1)
    assert (square[:5] == 200).all()
    assert (square[15:] == 200).all()
    np.testing.assert_array_equal(square[5:15], image)


def test_a_very_long_image_takes_no_more_memory_than_it_has_itself():
    tracemalloc.start()
    for image in (np.full((4, 20_000), 90, np.uint8), np.full((20_000, 4, 3), 90, np.uint8)):
        made = fit(image, 64, 3)
        assert made.shape == (64, 64, 3)
        assert (made == 90).all()
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_gray_and_colour_become_what_the_project_wants():
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert (fit(gray, 8, 3) == gray[..., None]).all()
    assert fit(np.stack([gray] * 3, 2), 8, 1).shape == (8, 8)
    np.testing.assert_array_equal(fit(gray[..., None], 8, 1), gray)
    assert fit_all([gray, np.zeros((30, 7, 3), np.uint8)], 12, 3).shape == (2, 12, 12, 3)


@pytest.mark.parametrize("shape", [(1, 8, 8), (8, 8, 4), (8,)])
def test_another_layout_is_refused_with_its_shape(shape):
    with pytest.raises(ValueError, match=rf"expected uint8 \(H, W\) or \(H, W, 3\), got uint8 {re.escape(str(shape))}"):
        fit(np.zeros(shape, np.uint8), 8, 1)


def test_pixels_that_are_not_bytes_are_refused():
    with pytest.raises(ValueError, match="float32"):
        fit(np.zeros((8, 8), np.float32), 8, 1)
