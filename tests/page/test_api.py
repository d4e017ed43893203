"""API of the page: every endpoint, and the snippets of the README."""

import asyncio
import base64
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import aios
from aios.attention import token_names
from aios.cli import StartError
from aios.page import server
from tests.helpers.app_process import ROOT, app_process, clean_environment
from tests.helpers.served import save_photo, served, tiny_predictor

README = (ROOT / "README.md").read_text("utf-8")
PHOTO = ROOT / "assets" / "examples" / "photo_skier.jpg"


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture(scope="module")
def address(predictor, tmp_path_factory):
    with served(predictor, tmp_path_factory.mktemp("uploads")) as address:
        yield address


@pytest.fixture(scope="module")
def client(address, tmp_path_factory):
    return Client(address, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


@pytest.fixture
def photo(tmp_path):
    return handle_file(str(save_photo(tmp_path / "group.png")))


def test_four_endpoints_are_public_and_every_argument_is_described(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert sorted(endpoints) == ["/attention", "/reconstruct", "/status", "/video"]
    for endpoint in endpoints.values():
        assert len(endpoint["description"]) > 30
    found = {
        name: [(p["parameter_name"], p["python_type"]["type"]) for p in endpoint["parameters"]]
        for name, endpoint in endpoints.items()
    }
    assert found["/reconstruct"] == [
        ("photo", "filepath"),
        ("threshold", "float"),
        ("max_people", "float"),
        ("input_size", "Literal['fast', 'balanced', 'full']"),
        ("field_of_view", "float"),
        ("refine", "bool"),
        ("ground", "bool"),
        ("bones", "Literal['smplx', 'mixamo', 'unreal']"),
        ("backdrop", "bool"),
        ("extras", "list[Literal['rigged', 'obj', 'ply', 'vertices']]"),
    ]
    assert [name for name, _ in found["/attention"]] == [
        *("photo", "person", "token", "layer", "threshold", "level", "head")
    ]
    assert dict(found["/attention"])["token"].startswith("Literal['body box', ")
    assert found["/status"] == []
    assert [name for name, _ in found["/video"]][0] == "video"
    for name, endpoint in endpoints.items():
        assert all(p["parameter_has_default"] for p in endpoint["parameters"][1:]), name


def test_readme_lists_every_endpoint_with_its_arguments(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    rows = re.findall(r"^\| `(/\w+)` \| (.*?) \|", README, re.M)
    assert sorted(name for name, _ in rows) == sorted(endpoints)
    for name, about in rows:
        listed = [word for word in re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", about))]
        assert listed == [p["parameter_name"] for p in endpoints[name]["parameters"]]


def test_status_returns_model_queue_and_limits(client, predictor):
    status = client.predict(api_name="/status")
    assert status["weights"] == "file" and status["body"] == "stand-in"
    assert (status["device"], status["speed"]) == ("cpu", "exact")
    assert status["version"] == aios.__version__
    assert status["queue_length"] == 0
    assert status["limits"] == {
        "max_people": 5,
        "input_sizes": ["fast", "balanced", "full"],
        "photo_megapixels": 50,
        "upload_mb": 600,
        "call_mb": 20,
        "waiting": 32,
        "kept_minutes": 60,
    }
    assert "/secret" not in json.dumps(status)


def test_input_size_and_field_of_view_change_the_result(client, predictor, photo):
    ask = {"photo": photo, "threshold": 0.0, "api_name": "/reconstruct"}
    plain, fast, wide = (
        client.predict(**ask, **more)[0]
        for more in ({}, {"input_size": "fast"}, {"field_of_view": 60.0})
    )
    assert fast["people"][0]["score"] != plain["people"][0]["score"]
    assert [p["score"] for p in wide["people"]] == [p["score"] for p in plain["people"]]
    assert wide["camera"] != plain["camera"]


def test_attention_json_and_npz_agree(client, predictor, photo):
    ask = {"photo": photo, "person": 2, "token": "left wrist", "threshold": 0.0}
    document, figure, archive = client.predict(**ask, api_name="/attention")
    config = predictor.model.config
    points = document["points"]
    assert (document["person"], document["token"]) == (2, "left wrist")
    assert document["token_in_layer"] == "left wrist"
    assert document["layer"] == len(predictor.model.decoder.layouts)
    assert len(points) == config.num_heads * config.num_levels * config.num_points
    for head in range(1, config.num_heads + 1):
        assert sum(p["weight"] for p in points if p["head"] == head) == pytest.approx(1, abs=5e-3)
    with np.load(archive) as arrays:
        tokens = arrays[f"layer{document['layer']}_tokens"].tolist()
        row = tokens.index("left wrist")
        box = arrays[f"layer{document['layer']}_boxes_cxcywh_px"][row]
        weights = arrays[f"layer{document['layer']}_weights"][row].ravel()
        assert arrays["person"] == 2
    np.testing.assert_allclose(document["box_cxcywh_px"], box, atol=0.01)
    np.testing.assert_allclose([p["weight"] for p in points], weights, atol=1e-4)
    share = sum(document["self_attention"].values()) + document["to_others"]
    assert list(document["self_attention"]) == tokens and share == pytest.approx(1, abs=5e-3)
    assert Image.open(figure).width > 400


def test_attention_of_a_layer_without_the_token_is_that_of_its_origin(client, predictor, photo):
    ask = {"photo": photo, "token": "left hand: thumb tip", "threshold": 0.0}
    document = client.predict(**ask, layer=1, level=2, head=1, api_name="/attention")[0]
    assert (document["stage"], document["token_in_layer"]) == ("locate", "body box")
    assert {(p["head"], p["level"]) for p in document["points"]} == {(1, 2)}
    assert len(document["points"]) == predictor.model.config.num_points


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"token": "tail"}, "Token must be one of the list, not 'tail'."),
        ({"token": ["nose"]}, "Token must be one of the list"),
        ({"token": "x" * 100_000}, "Token must be one of the list"),
        ({"person": 6}, "Person must be a number from 1 to 5."),
        ({"person": 1, "threshold": 1.0}, "There is no person 1"),
        ({"layer": 0}, "Layer must be a number from 1"),
        ({"layer": "last"}, "Layer must be a number from 1"),
        ({"level": -1}, "Level must be a number from 0"),
        ({"head": 1e9}, "Head must be a number from 0"),
        ({"threshold": 0.0, "photo": None}, "Send a photo."),
    ],
)
def test_invalid_arguments_of_attention_are_refused_in_one_sentence(
    client, photo, arguments, expected
):
    with pytest.raises(AppError) as caught:
        client.predict(**{"photo": photo, "threshold": 0.0} | arguments, api_name="/attention")
    message = str(caught.value)
    assert expected in message and "\n" not in message and len(message) < 200
    assert client.predict(api_name="/status")["weights"] == "file"


def test_every_token_is_an_allowed_value(client, predictor):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    (token,) = [p for p in endpoints["/attention"]["parameters"] if p["parameter_name"] == "token"]
    listed = re.findall(r"'([^']+)'", token["python_type"]["type"])
    assert listed == list(token_names(predictor.model.decoder.layouts[-1]))


def test_mcp_without_its_package_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(StartError, match=r"^--mcp needs another package: pip install mcp==\S+\.$"):
        server.launch(None, "127.0.0.1", 1, mcp=True)
    pinned = re.search(r'^mcp = .*"mcp==([\d.]+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert server._MCP_VERSION == pinned[1]
    assert f"pip install mcp=={pinned[1]}`" in README


# Snippets of the README, run against the program started as described there.


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    environment = clean_environment(tmp_path_factory.mktemp("home"))
    # Proxies that cannot be used, or do not answer, do not matter for a page on this machine.
    environment |= {"ALL_PROXY": "socks5://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    del environment["NO_PROXY"]
    with app_process(ROOT, environment, "--weights", "builtin", "--mcp") as (address, _log):
        yield address


def snippet(kind: str, mark: str, address: str) -> str:
    """Code block of the README with the address of the running server."""
    blocks = re.findall(rf"^```{kind}\n(.*?)^```", README, re.S | re.M)
    (found,) = [block for block in blocks if mark in block]
    assert "http://127.0.0.1:7860" in found
    return found.replace("http://127.0.0.1:7860", address.rstrip("/"))


def run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_snippet_of_the_readme_finds_the_skier(program):
    printed = run([sys.executable, "-c", snippet("python", "gradio_client", program)]).split("\n")
    people, points = re.search(r"^(\d+) people, (\d+) sampling points, \S+$", printed[-2]).groups()
    assert int(people) >= 1 and int(points) > 10


def test_curl_snippet_of_the_readme_finds_the_skier(program):
    printed = run(["bash", "-euc", snippet("sh", "curl", program)])
    assert "event: complete" in printed
    (data,) = re.findall(r"^data: (.*)$", printed, re.M)
    people, overlay, *_ = json.loads(data)
    assert len(people["people"]) >= 1
    file = subprocess.run(["curl", "-sSf", overlay["url"]], capture_output=True, timeout=60)
    assert file.stdout.startswith(b"\x89PNG")


def test_mcp_client_finds_the_skier(program):
    config = json.loads(snippet("json", "mcpServers", program))
    (url,) = [entry["url"] for entry in config["mcpServers"].values()]
    tools, plain, answer, refused = asyncio.run(ask_over_mcp(url))
    assert sorted(tools) == ["attention", "reconstruct", "status", "video"]
    assert "whole-body 3D mesh" in tools["reconstruct"].description
    assert tools["attention"].inputSchema["properties"]["token"]["description"]
    # Clients that request progress get image content; others get addresses of files.
    assert not plain.isError and not answer.isError
    assert "'people': [{" in plain.content[0].text and "_overlay.png" in plain.content[0].text
    people, *files = [part.text for part in answer.content if part.type == "text"]
    assert "'people': [{" in people and len(files) == 5
    assert [part.mimeType for part in answer.content if part.type == "image"] == 2 * ["image/png"]
    assert refused.isError and "Confidence threshold must be a number" in refused.content[0].text


async def ask_over_mcp(url: str):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    photo = "data:image/jpeg;base64," + base64.b64encode(PHOTO.read_bytes()).decode()
    async with (
        streamablehttp_client(url) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        plain = await session.call_tool("reconstruct", {"photo": photo})
        answer = await session.call_tool("reconstruct", {"photo": photo}, progress_callback=ignore)
        refused = await session.call_tool("reconstruct", {"photo": photo, "threshold": 7})
    return tools, plain, answer, refused


async def ignore(*_progress) -> None:
    """Progress callback without effect."""
