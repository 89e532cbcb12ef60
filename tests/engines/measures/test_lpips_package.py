"""LPIPS beside `lpips`, the package of its authors, on backbones of random weights.

The published backbones are a download; the linear heads come with both packages. The one thing
that differs is where the length of a feature vector is kept from zero: 1e-8 is added below
torchmetrics' root, 1e-10 to the authors' length. Lengths of 0.01 differ by 5e-5 of themselves;
those of the backbones here are above 0.3.
"""

import warnings

import lpips
import pytest
import torch
from safetensors.torch import save_file

from deocclude.engines.measures.lpips import build_lpips

SIZES = [(64, 64), (96, 80), (33, 127)]


@pytest.fixture(scope="module", params=["alex", "vgg"])
def both(request, tmp_path_factory):
    """Ours, built from a file as always, and the authors', with that file's backbone."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # how it asks torchvision is deprecated
        theirs = lpips.LPIPS(net=request.param, pnet_rand=True, verbose=False)
    own = theirs.net.state_dict()  # slice1.0.weight and so on, torchvision's features.0.weight
    file = tmp_path_factory.mktemp("backbone") / f"{request.param}.safetensors"
    save_file({f"features.{key.partition('.')[2]}": value for key, value in own.items()}, file)
    ours = build_lpips(request.param, file=file)
    assert ours.reason is None
    return ours.network, theirs.requires_grad_(False)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_both_answer_the_same(both, size):
    ours, theirs = both
    target = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(1))
    noise = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(2))
    for prediction in (noise, 0.9 * target + 0.1 * noise, target.flip(-1), torch.zeros_like(noise)):
        expected = theirs(prediction, target, normalize=True).reshape(-1)
        assert (expected > 1e-4).all()
        torch.testing.assert_close(ours(prediction, target), expected, rtol=1e-5, atol=1e-7)
