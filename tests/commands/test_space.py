"""Whether a run fits is asked before it trains, of a real disk that is too small."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from lamella.commands import space
from lamella.config.check import check
from lamella.disk import free
from lamella.errors import StorageError


def test_a_network_that_would_fill_a_disk_is_refused_with_numbers_and_the_key(composed, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=50m", "tmpfs", str(small)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("a small disk needs the right to mount one")
    try:
        network = nn.Linear(1000, 1000)  # 4 MB of weights
        config = check(composed("train", "model=unet", "dataset=phantom_blood", "trainer.ema=0.99"))
        space.require(config, network)
        place = str(small / "runs")
        for wanted, key, megabytes in (
            (replace(config, paths=replace(config.paths, output=place)), "paths.output", 64),
            (replace(config, tracking=replace(config.tracking, artifacts=place)), "tracking.artifacts", 60),
        ):
            space.require(wanted, nn.Linear(10, 10))
            with pytest.raises(StorageError) as caught:
                space.require(wanted, network)
            assert f"{free(small) / 1e6:.3g} MB are free" in caught.value.problem
            assert f"{megabytes} MB in {small}/runs ({key})" in caught.value.problem
            assert f"set `{key}=FOLDER`" in caught.value.remedy
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
