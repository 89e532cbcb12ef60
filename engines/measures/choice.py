"""Options of `evaluate.py` to what is measured beside the pixels."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from deocclude.data.files import sha256
from deocclude.engines.measures.columns import Measure, fid, learned, published
from deocclude.engines.measures.dlib_similarity import dlib_similarity
from deocclude.engines.measures.identity_similarity import identity_similarity
from deocclude.engines.measures.inception import build_inception
from deocclude.engines.measures.lpips import BACKBONES, LABELS, build_lpips, parse_networks
from deocclude.engines.runs.finished import without_dlib

logger = logging.getLogger(__name__)

LPIPS_NAMES = {"alex": "lpips", "vgg": "lpips_vgg"}
SWITCH = ("auto", "off")


def choose_measures(
    lpips: str = "auto",
    lpips_weights: Sequence[str] = (),
    identity: str = "auto",
    fid_wanted: str = "auto",
    inception_weights: Path | None = None,
    legacy: bool = False,
    runs: Path = Path("runs"),
    device: str | torch.device = "cpu",
) -> list[Measure]:
    """The measures of these options, those that cannot be had with their reason, which is logged.

    Raises ValueError or FileNotFoundError for names, files and runs that are not valid.
    """
    if fid_wanted not in SWITCH:
        raise ValueError(f"unknown --fid {fid_wanted!r}; valid: {', '.join(SWITCH)}")
    files = _weights_files(lpips_weights)
    networks = parse_networks(lpips)
    if unasked := [net for net in files if net not in networks]:
        raise ValueError(f"--lpips-weights {unasked[0]}=...: --lpips {lpips} does not ask for it")
    found = [_lpips(net, device, files.get(net)) for net in networks]
    named, dlib = without_dlib(identity)
    if (similarity := identity_similarity(named, runs, device)) is not None:
        found.append(similarity)
    if dlib:
        found.append(dlib_similarity())
    if fid_wanted != "off":
        found.append(_fid(device, inception_weights))
    elif inception_weights is not None:
        raise ValueError("--inception-weights is for FID, which --fid off leaves out")
    for measure in found:
        if measure.reason is not None:
            logger.info("the %s column stays empty: %s", measure.name, measure.reason)
    return [*found, published()] if legacy else found


def _weights_files(given: Sequence[str]) -> dict[str, Path]:
    files = {}
    for text in given:
        net, equals, path = text.partition("=")
        if net not in BACKBONES or not equals or not path:
            raise ValueError(f"--lpips-weights {text!r}: must be alex=FILE or vgg=FILE")
        files[net] = Path(path)
    return files


def _lpips(net: str, device: str | torch.device, file: Path | None) -> Measure:
    choice = build_lpips(net, device, file)
    if choice.network is None:
        return learned(LPIPS_NAMES[net], None, reason=choice.reason)
    key = {"network": net, "weights": sha256(choice.file)}
    digest = key["weights"][:12]
    note = f"LPIPS ({LABELS[net]}): version 0.1, backbone {choice.file.name}, SHA-256 {digest}."
    return learned(LPIPS_NAMES[net], choice.network, key, note)


def _fid(device: str | torch.device, file: Path | None) -> Measure:
    choice = build_inception(device, file)
    if choice.network is None:
        return fid(None, {}, choice.reason)
    return fid(choice.network, {"weights": sha256(choice.file)})
