"""What every test shares. The environment is set before NumPy and torch are imported."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers that compete for cores wait for one another
os.environ.setdefault("SCIPY_ARRAY_API", "1")  # scikit-learn skips a check without it

import pytest

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae.training import available_devices

collect_ignore = ["conftest.py"]  # docs/ has one as well


@pytest.fixture(params=[VAETransformer, RhoVAETransformer], ids=lambda cls: cls.__name__)
def Estimator(request):
    return request.param


@pytest.fixture
def accelerator():
    """A device that is not the CPU; the test is skipped where there is none."""
    name = available_devices()[0]
    if name == "cpu":
        pytest.skip("no CUDA, XPU or MPS device on this machine")
    return name
