"""The toy set."""

import numpy as np

from sklearn_vae.datasets import make_sine_sum


def test_target_is_the_sine_of_the_sum():
    X, y = make_sine_sum(500, random_state=0)
    assert X.shape == (500, 2)
    assert np.abs(X).max() <= np.pi
    np.testing.assert_array_equal(y, np.sin(X[:, 0] + X[:, 1]))


def test_noise_is_on_the_target_alone():
    X, y = make_sine_sum(20_000, noise=0.05, random_state=0)
    np.testing.assert_array_equal(X, make_sine_sum(20_000, random_state=0)[0])
    assert abs((y - np.sin(X.sum(axis=1))).std() - 0.05) < 0.002


def test_surface_is_the_three_columns():
    X, y = make_sine_sum(100, noise=0.1, random_state=3)
    np.testing.assert_array_equal(
        make_sine_sum(100, noise=0.1, random_state=3, surface=True), np.column_stack([X, y])
    )
