"""`look`: a real server, asked as its page asks, and as it must not be asked. tests/viewer/test_ui.py uses the page."""

import contextlib
import http.client
import re
import socket
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
import tifffile
import torch
import yaml
from PIL import Image

from lamella import hardware, tracking
from lamella.data.types import ImageRef
from lamella.inference import checkpoint
from lamella.inference.pictures import predict_rows
from support import processes
from support.looking import SCRIPT, looking, stopped

PATIENCE_S = 120


def folders():
    return {*Path(tempfile.gettempdir()).glob("lamella-look-*")}


@pytest.fixture(scope="module")
def run_id(uri):
    return next(run.run_id for run in tracking.finished(uri) if run.params["model.name"] == "unet")


@pytest.fixture(scope="module")
def page(uri, run_id, root):
    """The address of a page over a run, that takes no more than 1 MB."""
    with looking(root, f"run={run_id}", f"tracking.uri={uri}", "upload_mb=1") as (_, address):
        yield address


@pytest.fixture(scope="module")
def trained(uri, run_id):
    return checkpoint.load(tracking.checkpoint(uri, run_id))


def upload(page, data, name, **headers):
    return requests.post(f"{page}/pictures", data, headers={"X-Name": name} | headers, timeout=PATIENCE_S)


def predicted(page, told, number=0):
    """The address of a page of a picture, once it is predicted; what was said of it where it failed."""
    place = f"{page}/pictures/{told['id']}/{number}"
    assert requests.post(f"{place}/predict", timeout=PATIENCE_S).status_code == 202
    deadline = time.monotonic() + PATIENCE_S
    while (said := requests.get(f"{place}/progress", timeout=PATIENCE_S).json())["state"] in ("waiting", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return place if said["state"] == "done" else said


def smear(root, number=0):
    return sorted(root.rglob("test/original/*.png"))[number]


def test_what_is_shown_is_what_predict_finds_to_the_last_bit(page, trained, root, tmp_path):
    path = smear(root)
    answer = upload(page, path.read_bytes(), "my%20smear.png")
    told = answer.json()
    assert (answer.status_code, told["name"], told["pages"], told["width"], told["height"]) == (
        201, "my smear.png", 1, 96, 64,
    )  # fmt: skip
    place = predicted(page, told)
    (band,) = predict_rows([trained], ImageRef(path), hardware.resolve("cpu", "32-true"), tta=None)
    share = np.frombuffer(requests.get(f"{place}/probability", timeout=60).content, "<f4").reshape(64, 96)
    assert np.array_equal(share, band.probability[0])
    classes = trained.segmenter.classes(torch.from_numpy(band.probability)[None])[0].numpy()
    (tmp_path / "labels.tif").write_bytes(requests.get(f"{place}/files/labels.tif", timeout=60).content)
    assert np.array_equal(tifffile.imread(tmp_path / "labels.tif"), classes)
    seen = Image.open(requests.get(f"{place}/image.png", stream=True, timeout=60).raw)
    assert np.array_equal(np.asarray(seen), np.asarray(Image.open(path)))


def test_objects_follow_the_threshold_and_are_downloaded(page, root, tmp_path):
    place = predicted(page, upload(page, smear(root).read_bytes(), "a.png").json())
    own, none, all_ = (
        requests.get(f"{place}/objects{query}", timeout=60).json()
        for query in ("", "?threshold=1", "?threshold=0")
    )  # fmt: skip
    (tmp_path / "objects.tif").write_bytes(requests.get(f"{place}/files/objects.tif", timeout=60).content)
    numbers = tifffile.imread(tmp_path / "objects.tif")
    assert own["count"] == numbers.max() == own["groups"][0]["count"]
    assert none["count"] == 0
    assert all_["groups"][0]["share"] == pytest.approx(1, abs=0.01)
    answer = requests.get(f"{place}/files/objects.csv", timeout=60)
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''a_objects.csv"
    (tmp_path / "objects.csv").write_bytes(answer.content)
    table = pd.read_csv(tmp_path / "objects.csv")
    assert table["area"].tolist() == np.bincount(numbers.ravel())[1:].tolist()
    assert own["rows"]["area"] == table["area"].tolist()[:200]
    ids = np.frombuffer(requests.get(f"{place}/numbers", timeout=60).content, "<u4").reshape(64, 96)
    assert np.array_equal(ids, numbers)


def test_a_stack_is_turned_page_by_page_and_keeps_the_size_of_its_pixels(page, root, tmp_path):
    stack = np.stack([np.asarray(Image.open(smear(root, number))) for number in (0, 1)])
    tifffile.imwrite(tmp_path / "stack.tif", stack, imagej=True, resolution=(4.0, 4.0),
                     metadata={"axes": "ZYXS", "unit": "um"})  # fmt: skip
    told = upload(page, (tmp_path / "stack.tif").read_bytes(), "stack.tif").json()
    assert (told["pages"], told["letter"], told["pixelNm"]) == (2, "Z", [250.0, 250.0])
    place = predicted(page, told, 1)
    alone = predicted(page, upload(page, smear(root, 1).read_bytes(), "b.png").json())
    assert requests.get(f"{place}/probability", timeout=60).content == (
        requests.get(f"{alone}/probability", timeout=60).content
    )
    said = requests.get(f"{place}/objects", timeout=60).json()
    assert said["unit"] == "µm²"
    answer = requests.get(f"{place}/files/labels.tif", timeout=60)
    assert "stack_page001_labels.tif" in answer.headers["content-disposition"]
    (tmp_path / "labels.tif").write_bytes(answer.content)
    with tifffile.TiffFile(tmp_path / "labels.tif") as file:
        assert file.imagej_metadata["unit"] == "um"
        assert file.pages[0].tags["XResolution"].value == (4, 1)
    assert requests.get(f"{page}/pictures/{told['id']}/2/progress", timeout=60).status_code == 404


def test_examples_are_the_runs_own_test_images_one_after_another(page, uri, run_id):
    names = []
    for _ in range(5):
        told = requests.post(f"{page}/example", timeout=PATIENCE_S).json()
        names.append(told["name"])
    assert {*names} == {*tracking.read(uri, run_id).scores()["id"]}
    assert names[4] == names[0]
    assert isinstance(predicted(page, told), str)


def test_what_cannot_be_shown_gets_a_sentence(page, tmp_path):
    tifffile.imwrite(tmp_path / "grey.tif", np.zeros((40, 50), np.uint8))
    tifffile.imwrite(tmp_path / "five.tif", np.zeros((5, 40, 50), np.uint8), photometric="minisblack")
    huge = tmp_path / "huge.tif"
    tifffile.imwrite(huge, np.zeros((6000, 6000), np.uint8), compression="zlib", rowsperstrip=6000)
    files = {
        "no picture.png": (b"no picture", r"^no picture\.png cannot be read as an image"),
        "empty.png": (b"", r"^empty\.png is empty"),
        "letter.docx": (b"x", r"^letter\.docx is of no kind that is read here"),
        "..%2F..%2Fetc%2Fpasswd": (b"x", "is of no kind that is read here"),
        "huge.tif": (huge.read_bytes(), r"has 6,000 x 6,000 pixels, and this page shows 25,000,000 at most"),
        "": (b"x", "the file has no name"),
    }
    for name, (data, said) in files.items():
        answer = upload(page, data, name)
        assert answer.status_code == 400, name
        assert re.search(said, answer.json()["problem"]), answer.json()
        assert "/tmp" not in answer.text
    for name, said in {"grey.tif": "has 1 channel", "five.tif": "channel"}.items():
        failed = predicted(page, upload(page, (tmp_path / name).read_bytes(), name).json())
        assert failed["state"] == "failed"
        assert failed["problem"].startswith(name)
        assert said in failed["problem"]
    answer = upload(page, b"<b>", "%3Cb%3Ex%00%1B.png")
    assert answer.json()["problem"].startswith(r"<b>x\x00\x1b.png cannot be read")  # shown as text, never as markup


def test_too_large_an_upload_is_refused_before_it_is_there_and_while_it_comes(page):
    before = {path: {*path.iterdir()} for path in folders()}
    host = page.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=PATIENCE_S)
    connection.putrequest("POST", "/pictures")
    for name, value in {"X-Name": "a.png", "Content-Length": str(10**12)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()  # not a byte of it was sent
    assert answer.status == 413
    assert b"a.png has more than 1 MB" in answer.read()
    sent = 0
    with socket.create_connection(host.split(":"), timeout=PATIENCE_S) as wire:
        wire.sendall(
            f"POST /pictures HTTP/1.1\r\nHost: {host}\r\nX-Name: a.png\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        with contextlib.suppress(OSError):
            while sent < 10**9:
                wire.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                sent += 0x10000
    assert sent < 10**8
    assert {path: {*path.iterdir()} for path in before} == before


def test_foreign_names_and_pages_are_refused(page):
    assert requests.get(page, headers={"Host": "evil.org"}, timeout=60).status_code == 403
    answer = requests.post(f"{page}/example", headers={"Origin": "http://evil.org"}, timeout=60)
    assert (answer.status_code, answer.text) == (403, "Only the page itself may ask for that.\n")


@pytest.mark.parametrize(
    "path", ["nothing", "pictures/none/0/progress", "pictures/../../etc/passwd", "../conf/look.yaml", "style.css/x"]
)
def test_what_is_not_there_is_said(page, path):
    answer = requests.get(f"{page}/{path}", timeout=60)
    assert answer.status_code == 404
    assert answer.json()["problem"] == "there is no such thing here any longer"


def test_odd_questions_are_refused(page, root):
    place = predicted(page, upload(page, smear(root).read_bytes(), "a.png").json())
    thresholds = ("objects?threshold=nan", "objects?threshold=2", "objects?threshold=x")
    for query in (*thresholds, "files/secret", "probability?class=9", "spread", "image.png?channel=-1"):
        assert requests.get(f"{place}/{query}", timeout=60).status_code == 404, query
    assert requests.post(f"{place}/objects", timeout=60).status_code == 405


def test_two_users_at_once_wait_for_each_other_and_a_closed_picture_is_gone(page, root):
    told = [upload(page, smear(root, number).read_bytes(), f"{number}.png").json() for number in (0, 1, 2)]
    for each in told:
        requests.post(f"{page}/pictures/{each['id']}/0/predict", timeout=60)
    places = [predicted(page, each) for each in told]
    shares = {requests.get(f"{place}/probability", timeout=60).content for place in places}
    assert len(shares) == 3
    assert requests.post(f"{page}/pictures/{told[0]['id']}/close", timeout=60).status_code == 204
    assert requests.get(f"{places[0]}/progress", timeout=60).status_code == 404
    assert requests.get(f"{places[1]}/progress", timeout=60).json()["state"] == "done"


def test_ctrl_c_ends_it_in_order_and_nothing_is_left(uri, run_id, root, trained):
    before = folders()
    path = tracking.checkpoint(uri, run_id)
    with looking(root, f"checkpoint={path}") as (started, address):
        upload(address, smear(root).read_bytes(), "a.png")
        assert len(folders() - before) == 1
        port = address.rpartition(":")[2]
        busy = processes.run(SCRIPT, f"checkpoint={path}", f"port={port}", cwd=root)
        assert busy.returncode == 1
        assert busy.stderr.startswith(f"error: port {port} cannot be used: Address already in use\n  Leave port out")
        ended = stopped(started)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert folders() <= before


def test_where_the_data_is_not_an_example_is_a_sentence(uri, run_id, root, tmp_path):
    path = tracking.checkpoint(uri, run_id)
    saved = torch.load(path, weights_only=True)
    config = yaml.safe_load(saved["lamella"]["config"])
    for key in ("cache", "train", "test", "height", "width", "seed"):
        del config["dataset"][key]
    config["dataset"] |= {"_target_": "lamella.data.blood", "name": "blood", "root": str(tmp_path / "blood")}
    del config["tracking"]["register"]  # as of an older version
    saved["lamella"]["config"] = yaml.safe_dump(config)
    torch.save(saved, tmp_path / "best.ckpt")
    with looking(root, f"checkpoint={tmp_path}/best.ckpt", f"paths.data={tmp_path}") as (_, address):
        answer = requests.post(f"{address}/example", timeout=60)
    assert answer.status_code == 400
    assert str(tmp_path) in answer.json()["problem"]
