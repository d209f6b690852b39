"""A reward server answers numbers or one sentence, and never mixes up its clients."""

import base64
import io
import json
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from scoreward.rewards.encodings import (
    ENCODINGS,
    Encoding,
    encoded,
    npy,
    opened,
    quantised,
    restored,
)
from scoreward.rewards.remote.server import create_app, is_loopback, listen
from scoreward.rewards.remote.service import Service, Serving
from scoreward.rewards.remote.wire import FRAMED, PLAIN, Secret
from tests.rewards.serving import QUICK, brightness, metric, number, running, score, talk


def broken(media: Tensor, prompts: Sequence[str]) -> Tensor:
    raise KeyError("no such model")


REWARDS = {
    "brightness": brightness,
    "number": number,
    "last_frame": lambda media, prompts: media[:, :, -1].flatten(1).mean(1),
    "broken": broken,
    "nan": lambda media, prompts: media.new_full((len(prompts),), float("nan")),
    "one_number": lambda media, prompts: media.mean().reshape(1),
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(REWARDS) as address:
        yield address


def pictures(count: int, height: int = 8, width: int = 12) -> Tensor:
    return torch.rand(count, 3, height, width)


def file(image: Image.Image, kind: str = "PNG", **how: object) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **how)  # pyright: ignore
    return written.getvalue()


# Numbers


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_brings_the_pictures_to_the_reward(url: str, encoding: Encoding) -> None:
    media = pictures(3)
    status, said = score(url, encoded(media, encoding), ["a", "b", "c"])
    arrived = {
        "float16": media.half().float(),
        "float32": media,
    }.get(encoding, (media * 255).round() / 255)
    assert status == 200
    expected = brightness(arrived, [])
    torch.testing.assert_close(torch.tensor(said["rewards"]["brightness"]), expected)


@pytest.mark.parametrize("encoding", ["png", "webp"])
def test_eight_bits_are_lossless_and_as_pillow_reads_them(encoding: Encoding) -> None:
    media = pictures(2, 5, 7)
    media[0, 0, 0, :2] = torch.tensor([-0.3, 1.7])  # cut off, not wrapped around
    for picture, file_of_it in zip(media, encoded(media, encoding)):
        wanted = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        with Image.open(io.BytesIO(file_of_it)) as image:
            assert image.format == encoding.upper()
            np.testing.assert_array_equal(np.array(image), wanted)
        mine = opened(memoryview(file_of_it)).read()
        np.testing.assert_array_equal(mine.permute(1, 2, 0).numpy(), wanted)


def test_every_eight_bit_value_survives_there_and_back() -> None:
    values = torch.arange(256) / 255
    assert torch.equal(restored(quantised(values)), values)


def test_several_rewards_share_one_request(url: str) -> None:
    before = metric(url, "scoreward_requests_total")
    media = pictures(2)
    status, said = score(
        url, encoded(media, "float32"), ["3", "7"], rewards=["number", "brightness"]
    )
    assert status == 200
    assert list(said["rewards"]) == ["number", "brightness"]
    assert said["rewards"]["number"] == [3.0, 7.0]
    expected = brightness(media, [])
    torch.testing.assert_close(torch.tensor(said["rewards"]["brightness"]), expected)
    assert metric(url, "scoreward_requests_total") == before + 1


def test_a_video_is_the_frames_of_each_sample_in_order(url: str) -> None:
    media = torch.rand(2, 3, 4, 8, 8)
    status, said = score(
        url, encoded(media, "float32"), ["a", "b"], frames=4, rewards=["last_frame"]
    )
    assert status == 200
    expected = media[:, :, -1].flatten(1).mean(1)
    torch.testing.assert_close(torch.tensor(said["rewards"]["last_frame"]), expected)


@pytest.mark.parametrize("encoding", ["png", "uint8"])
def test_the_same_may_come_as_plain_json(url: str, encoding: Encoding) -> None:
    media = pictures(2)
    words = [base64.b64encode(p).decode() for p in encoded(media, encoding)]
    body = {"rewards": ["brightness"], "prompts": ["a", "ü"], "pictures": words}
    kind = {"Content-Type": PLAIN}
    status, said = talk(url, "POST", "/score", json.dumps(body).encode(), kind)
    numbers = json.loads(said)["rewards"]["brightness"]
    assert status == 200
    expected = brightness((media * 255).round() / 255, [])
    torch.testing.assert_close(torch.tensor(numbers), expected)


# Refusals


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("broken", "reward 'broken' raised KeyError: 'no such model'"),
        ("nan", "reward 'nan' returned nan for prompt 'a'; rewards must be finite"),
        (
            "one_number",
            "reward 'one_number' returned shape (1,) for 2 samples; expected (2,), one number per "
            "sample",
        ),
    ],
)
def test_a_reward_that_fails_is_an_error_and_the_server_goes_on(
    url: str, name: str, sentence: str
) -> None:
    media = encoded(pictures(2), "png")
    asked = ["brightness", name]
    assert score(url, media, ["a", "b"], rewards=asked) == (500, {"error": sentence})
    assert score(url, media, ["a", "b"])[0] == 200


def test_an_unknown_reward_is_refused_with_the_closest_name(url: str) -> None:
    status, said = score(url, encoded(pictures(1), "png"), ["a"], rewards=["brightnes"])
    assert status == 404
    assert said["error"].startswith(
        "no reward 'brightnes' here; did you mean 'brightness'?; this server has brightness, number"
    )


PIXEL = Image.new("RGB", (8, 8))
WHOLE = file(PIXEL)
OBJECTS = io.BytesIO()
np.save(OBJECTS, np.array([{"a": 1}], dtype=object), allow_pickle=True)
NOISE = encoded(torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)), "png")[0]
NAN = np.full((3, 8, 8), np.nan, np.float32)


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (b"", "cannot identify image file"),
        (b"not a picture at all", "cannot identify image file"),
        (file(PIXEL, "BMP"), "cannot identify image file"),
        (NOISE[:-100], "image file is truncated"),
        (file(PIXEL.convert("RGBA")), "its mode is RGBA; expected RGB"),
        (file(PIXEL.convert("L")), "its mode is L; expected RGB"),
        (file(PIXEL, save_all=True, append_images=[Image.new("RGB", (8, 8), "red")]), "animated"),
        (OBJECTS.getvalue(), "it is an array of object of shape (1,); expected uint8, f"),
        (npy(np.zeros((3, 8, 8), np.float64)), "it is an array of float64 of shape (3, 8, 8)"),
        (npy(np.zeros((3, 8, 8), np.float32))[:-4], "bytes are not (3, 8, 8) of float32"),
        (npy(NAN), "it has values from nan to nan, not finite ones in [0, 1]"),
        (npy(np.full((3, 8, 8), -0.5, np.float32)), "it has values from -0.5 to -0.5, not"),
        (npy(np.full((3, 8, 8), 255, np.float16)), "it has values from 255 to 255, not finite"),
    ],
    ids=range(13),
)
def test_a_bad_picture_is_refused_with_its_number(url: str, picture: bytes, reason: str) -> None:
    good = npy(np.zeros((3, 8, 8), np.float32)) if picture[:1] == b"\x93" else WHOLE
    status, said = score(url, [good, picture], ["a", "b"])
    assert status == 400
    assert said["error"].startswith("picture 1 cannot be read: ")
    assert reason in said["error"]


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ({"prompts": ["a", "b", "c"]}, "2 pictures came for 3 prompts"),
        ({"frames": 2}, "2 pictures came for 2 prompts of 2 frames"),
        ({"frames": 0}, "`frames` must be null or at least 1, got 0"),
        ({"rewards": []}, "`rewards` must be a list of at least one string"),
        ({"rewards": "brightness"}, "`rewards` must be a list of at least one string"),
        ({"prompts": [1, 2]}, "`prompts` must be a list of at least one string"),
        ({"seconds": -1}, "`seconds` must be in (0, 3600], got -1"),
        ({"seconds": True}, "`seconds` must be in (0, 3600], got True"),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(url: str, head: dict, sentence: str) -> None:
    status, said = score(url, [WHOLE, WHOLE], head.pop("prompts", ["a", "b"]), **head)
    assert (status, said) == (400, {"error": sentence})


@pytest.mark.parametrize(
    ("body", "kind", "status", "sentence"),
    [
        (b"", FRAMED, 400, "the request cannot be read: unpack_from requires"),
        (b"\0\0\0\x02[]", FRAMED, 400, "the request cannot be read: `sizes` must be a list"),
        (b"\0\0\0\x02{}", FRAMED, 400, "the request cannot be read: `sizes` must be a list"),
        (struct.pack(">I", 13) + b'{"sizes":[5]}', FRAMED, 400, "`sizes` add up to 5 bytes, 0"),
        (struct.pack(">I", 14) + b'{"sizes":[-5]}', FRAMED, 400, "`sizes` must be a list of whol"),
        (b"[" * 100_000, PLAIN, 400, "the request cannot be read: "),
        (b'{"pictures": ["%"]}', PLAIN, 400, "the request cannot be read: "),
        (b"{}", "text/plain", 415, "content type 'text/plain' is unknown; expected application/x-"),
    ],
)
def test_a_body_that_is_no_request_is_refused(
    url: str, body: bytes, kind: str, status: int, sentence: str
) -> None:
    got, said = talk(url, "POST", "/score", body, {"Content-Type": kind})
    assert got == status
    assert sentence in json.loads(said)["error"]


def test_pictures_of_two_sizes_or_kinds_are_refused(url: str) -> None:
    one, other = encoded(pictures(1, 8, 8), "png"), encoded(pictures(1, 8, 9), "png")
    status, said = score(url, [*one, *other], ["a", "b"])
    assert status == 400
    assert said["error"].startswith("picture 1 has 8 x 9 pixels and the first 8 x 8; the pictures")
    status, said = score(url, [*one, *encoded(pictures(1, 8, 8), "float32")], ["a", "b"])
    assert status == 400
    assert said["error"] == "some pictures have 8 bits and some are floats; send one kind"


def test_a_wrong_path_or_method_is_one_sentence_too(url: str) -> None:
    status, said = talk(url, "GET", "/scores")
    assert (status, json.loads(said)) == (
        404,
        {"error": "GET /scores: Not Found; see /health, /score"},
    )
    assert talk(url, "GET", "/score")[0] == 405


# The token


def test_a_token_is_asked_for_everywhere_but_at_health() -> None:
    with running({"brightness": brightness}, replace(QUICK, token=Secret("abra"))) as url:
        assert score(url, encoded(pictures(1), "png"), ["a"]) == (
            401,
            {"error": "this server needs its token: Authorization: Bearer TOKEN"},
        )
        for words, status in (("Bearer abrA", 401), ("abra", 401), ("Bearer abra", 200)):
            assert talk(url, "GET", "/metrics", headers={"Authorization": words})[0] == status
        assert talk(url, "GET", "/health")[0] == 200


def test_a_large_request_without_the_token_still_hears_why() -> None:
    """Answered before it is read, a client would see a broken connection and try again."""
    with running({"brightness": brightness}, replace(QUICK, token=Secret("abra"))) as url:
        status, said = score(url, encoded(torch.rand(8, 3, 512, 512), "png"), ["a"] * 8)
        assert (status, said["error"][:29]) == (401, "this server needs its token: ")


@pytest.mark.parametrize("word", ["", "two words", "line\n", "ümlaut"])
def test_a_token_is_one_visible_word(word: str) -> None:
    with pytest.raises(ValueError, match=r"^a token is a word of visible ASCII"):
        Secret(word)


def test_a_token_is_not_shown() -> None:
    assert "abra" not in repr(Serving(token=Secret("abra")))


# Health, metrics, loopback


def test_metrics_count_what_was_asked_and_what_failed() -> None:
    with running({'a "b"': brightness, "broken": broken}) as url:
        for _ in range(2):
            assert score(url, encoded(pictures(3), "png"), list("abc"), rewards=['a "b"'])[0] == 200
        score(url, encoded(pictures(1), "png"), ["a"], rewards=["broken"])
        label = r'{reward="a \"b\""}'
        assert metric(url, "scoreward_requests_total") == 3
        assert metric(url, "scoreward_pictures_total") == 6
        assert metric(url, 'scoreward_failures_total{status="500"}') == 1
        assert metric(url, f"scoreward_reward_samples_total{label}") == 6
        assert metric(url, f"scoreward_reward_batches_total{label}") == 2
        assert metric(url, f"scoreward_queue_samples{label}") == 0
        assert metric(url, "scoreward_held_bytes") == 0
        assert 0 < metric(url, f"scoreward_reward_seconds_total{label}") < 30
        assert 0 < metric(url, "scoreward_request_seconds_total") < 30


def test_every_metric_is_explained_and_typed(url: str) -> None:
    lines = talk(url, "GET", "/metrics")[1].decode().splitlines()
    named = {line.split("{")[0].split()[0] for line in lines if not line.startswith("#")}
    for kind in ("HELP", "TYPE"):
        assert {line.split()[2] for line in lines if line.startswith(f"# {kind} ")} == named


def test_health_names_the_rewards_and_a_thread_that_died(url: str) -> None:
    status, said = talk(url, "GET", "/health")
    assert (status, json.loads(said)) == (200, {"status": "ok", "rewards": list(REWARDS)})
    service = Service({"brightness": brightness})
    assert service.health() == (False, {"status": "stopped: brightness", "rewards": ["brightness"]})


def test_it_listens_to_this_machine_alone_unless_told_otherwise() -> None:
    with listen(port=0) as bound:
        assert bound.getsockname()[0] == "127.0.0.1"
    inside = {h: is_loopback(h) for h in ("127.0.0.1", "::1", "localhost", "127.8.0.1")}
    assert all(inside.values())
    assert not any(is_loopback(h) for h in ("0.0.0.0", "::", "10.0.0.1", "example"))


def test_a_port_in_use_is_one_sentence() -> None:
    with listen(port=0) as bound:
        bound.listen()
        port = bound.getsockname()[1]
        with pytest.raises(OSError, match=rf"^cannot listen on 127.0.0.1 port {port}: .*; choose"):
            listen(port=port)


@pytest.mark.parametrize("package", ["fastapi", "uvicorn"])
def test_without_its_packages_it_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    from scoreward.rewards.remote.server import web_server

    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install \"scoreward\[server\]\"$"):
        web_server(create_app({"brightness": brightness}))
