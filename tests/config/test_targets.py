"""Configurations that older versions kept, in the names and with the keys of this one."""

import inspect

import pytest
from omegaconf import OmegaConf

from lamella.config.paths import CONF
from lamella.config.targets import translated
from lamella.data.datasets.folder import folder

ADDED = {"image_prefix", "mask_prefix", "instances", "border", "mask_threshold", "mask_layers", "objects", "spacing_nm"}


def older(**changed):
    today = OmegaConf.to_container(OmegaConf.load(CONF / "dataset/folder.yaml"))
    return {"dataset": {key: value for key, value in today.items() if key not in ADDED} | changed}


@pytest.mark.parametrize(("kept", "now"), [(True, None), (False, False)])
def test_a_folder_of_before_objects_means_what_it_meant(kept, now):
    for config, format_ in (
        (older(serial=kept), 1),
        (older(serial=kept, _target_="lamella.data.folder.folder"), 0),
    ):
        dataset = translated(config, format_)["dataset"]
        assert set(inspect.signature(folder).parameters) <= {*dataset}
        assert dataset["serial"] is now
        assert (dataset["instances"], dataset["objects"], dataset["border"]) == (False, "none", "background")


def test_what_is_of_today_stays():
    config = {"dataset": OmegaConf.to_container(OmegaConf.load(CONF / "dataset/folder.yaml")) | {"serial": True}}
    assert translated(config, 1) == config
    assert translated({"dataset": {"_target_": "lamella.data.blood"}}, 1) == {
        "dataset": {"_target_": "lamella.data.blood"}
    }
