"""File arguments: every function of the page accepts uploaded files only."""

import json
import uuid
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import gradio as gr
import pytest
from gradio.route_utils import delete_files_created_by_app
from gradio.utils import get_upload_folder

from aios.page import arguments
from aios.page.arguments import NOT_UPLOADED, check_arguments, checked
from aios.page.layout import build_page
from aios.resources import EXAMPLES
from tests.helpers.live_folder import files_under
from tests.helpers.raw_http import FILE_DEFAULTS, call, file_data, send_file
from tests.helpers.served import save_photo, served, tiny_predictor

META = {"_type": "gradio.FileData"}


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture(scope="module")
def uploads(tmp_path_factory):
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def address(predictor, uploads):
    with served(predictor, uploads) as address:
        yield address


@pytest.fixture
def secret(tmp_path):
    return save_photo(tmp_path / "secret.png")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


def uploaded(folder: Path, name: str = "a.png") -> Path:
    path = folder / (uuid.uuid4().hex * 2) / name
    path.parent.mkdir()
    return save_photo(path)


def forms(path: object) -> list[object]:
    """Every form in which a call can name a file."""
    return [
        {"path": path},
        {"path": path, "meta": META},
        {"path": path, "meta": {"_type": "other"}},
        {"path": path, "url": "http://127.0.0.1/x.png", "meta": META},
        {"path": path, "is_stream": True, "meta": META},
        {"path": None, "url": f"file://{path}"},
        {"value": {"path": path}},
        [{"path": path, "meta": META}],
        [[{"path": path}]],
    ]


def test_paths_in_every_form_are_refused_unless_uploaded(folder, secret):
    good = uploaded(folder)
    results = folder / "visitor-1" / "results-2"
    results.mkdir(parents=True)
    link = uploaded(folder, "link.png")
    link.unlink()
    link.symlink_to(secret)
    strange = (
        *(secret, "/dev/zero", "/proc/self/environ", "/etc/passwd", "", "\0", 7, ["x"], {}, link),
        *(save_photo(results / "x.png"), good.parent, folder, "../../etc/passwd", "a.png"),
        *(f"{good.parent}/../{secret.name}", f"{good}/../../{good.parent.name}/a.png"),
        *("http://127.0.0.1:1/x.png", "https://example.org/x.png", f"file://{good}"),
    )
    for path in strange:
        for form in forms(str(path) if isinstance(path, Path) else path):
            with pytest.raises(gr.Error) as caught:
                checked([form], [None])
            assert caught.value.message == NOT_UPLOADED


def test_uploaded_file_is_accepted_by_its_path_and_its_address(folder):
    path = uploaded(folder, "a b.png")
    expected = {"path": str(path), "meta": META}
    address = f"http://127.0.0.1:7860/gradio_api/file={str(path).replace(' ', '%20')}"
    assert checked([{"path": str(path)}, [{"path": address}]], [None, None]) == [
        expected,
        [expected],
    ]
    path.unlink()
    with pytest.raises(gr.Error, match="a b.png is no longer on the server"):
        checked([{"path": str(path)}], [None])


def test_file_above_the_limit_is_refused(folder, monkeypatch):
    path = uploaded(folder)
    monkeypatch.setattr(arguments, "MAX_UPLOAD_FILE_MB", 0)
    with pytest.raises(gr.Error, match="too large"):
        checked([{"path": str(path)}], [None])


@pytest.mark.parametrize("value", [[0] * 30_000, [[[[[[[[[[[[1]]]]]]]]]]]]])
def test_too_many_values_are_refused(value):
    with pytest.raises(gr.Error, match="too many"):
        checked([value], [None])


def test_other_values_are_unchanged():
    values = [1.5, "text", None, [1, "a"], {"key": [True]}]
    assert checked(values, [None] * 5) == values
    assert checked(values, [None] * 7) == values  # Gradio reports a wrong number later
    assert checked(values, []) == values


def test_examples_outlive_the_deletion_of_old_files(predictor, folder, monkeypatch):
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    page = build_page(predictor)
    before = {path.name for path in files_under(folder)}
    examples = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".jpg", ".mp4")}
    assert examples <= before
    delete_files_created_by_app(page, -1)
    assert {path.name for path in files_under(folder)} >= examples


def test_every_function_with_inputs_is_checked(predictor, folder, monkeypatch):
    """Named or not: all functions of the page prepare their arguments in one place."""
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    page = build_page(predictor)
    functions = [fn for fn in page.fns.values() if fn.inputs and fn.fn is not None]
    assert len(functions) > 20
    for fn in functions:
        for position in range(len(fn.inputs)):
            values = [None] * len(fn.inputs)
            values[position] = {"path": "/etc/passwd"}
            coroutine = page.preprocess_data(fn, values, None)
            with pytest.raises(gr.Error) as caught:
                coroutine.send(None)
            assert caught.value.message == NOT_UPLOADED
    assert page.preprocess_data.__qualname__.startswith(check_arguments.__name__)


def fn_calls(address: str, path: str) -> list[tuple[str, str]]:
    """Answer of every function of the page, public or not, to a file that was not uploaded."""
    with urlopen(f"{address}config", timeout=60) as reply:
        config = json.load(reply)
    kinds = {part["id"]: part["type"] for part in config["components"]}
    takes_files = ("image", "file", "uploadbutton", "video", "downloadbutton")
    answers = []
    for dependency in config["dependencies"]:
        inputs = [kinds.get(number) for number in dependency["inputs"]]
        if not dependency["backend_fn"] or not set(inputs) & set(takes_files):
            continue
        for form in ({"path": path}, file_data(path), [file_data(path)]):
            data = [form if kind in takes_files else None for kind in inputs]
            answers.append((dependency["id"], run(address, dependency["id"], data)))
    return answers


def run(address: str, function: int, data: list) -> str:
    """Call a function by number, directly or through the queue; return the whole answer."""
    session = uuid.uuid4().hex
    body = {"data": data, "fn_index": function, "session_hash": session}
    kind = {"Content-Type": "application/json"}
    try:
        request = Request(f"{address}gradio_api/queue/join", json.dumps(body).encode(), kind)
        with urlopen(request, timeout=60) as reply:
            reply.read()
        url = f"{address}gradio_api/queue/data?session_hash={session}"
        with urlopen(url, timeout=60) as reply:
            for line in reply:
                if b"process_completed" in line:
                    return line.decode()
    except HTTPError as error:
        return error.read().decode()
    raise AssertionError("no answer")


def test_no_function_reads_a_file_of_the_server(address, uploads, secret):
    before = files_under(uploads)
    existing, missing = fn_calls(address, str(secret)), fn_calls(address, "/nowhere/x.png")
    assert len(existing) >= 15
    for (_, answer), (_, other) in zip(existing, missing, strict=True):
        # The answer does not depend on whether the file exists.
        assert NOT_UPLOADED in answer and NOT_UPLOADED in other
        assert "secret" not in answer and "Traceback" not in answer
    assert files_under(uploads) <= before  # files of earlier visitors may be deleted meanwhile


def refusal(answer: tuple[str, object]) -> str:
    kind, content = answer
    assert kind == "error"
    return content["error"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("reconstruct", [None] * 10),
        ("reconstruct", [None, 0.0, 1, None, 0, *FILE_DEFAULTS]),
        ("reconstruct", [7, 0.0, 1, "fast", 0, *FILE_DEFAULTS]),
        ("reconstruct", []),
        ("attention", [None] * 7),
        ("video", [None] * 6),
        ("video", [{"path": 7}, "x", [], {}, None, "y"]),
        ("video", ["x.mp4", 0.0, 1, 1, 1, True]),
        ("status", [1, 2, 3]),
    ],
)
def test_every_refusal_is_a_sentence(address, name, data):
    try:
        kind, answer = call(address, name, data)
    except HTTPError as error:
        kind, answer = "error", {"error": json.loads(error.read())["detail"]}
    if kind != "complete":
        sentence = answer["error"]
        assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 200


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/stdin", "/proc/self/mem"])
def test_device_does_not_stop_the_page(address, secret, path):
    for name, more in (
        ("reconstruct", [0.0, 1, "fast", 0, *FILE_DEFAULTS]),
        ("video", [0.0, 1, 1, 1, True]),
        ("attention", [1, "nose", 1, 0.0, 0, 0]),
    ):
        assert refusal(call(address, name, [{"path": path}, *more])) == NOT_UPLOADED
    data = [file_data(send_file(address, secret)), 0.0, 1, "fast", 0, *FILE_DEFAULTS]
    assert call(address, "reconstruct", data)[0] == "complete"


def test_result_of_another_visitor_is_not_accepted(address, secret):
    data = [file_data(send_file(address, secret)), 0.0, 1, "fast", 0, *FILE_DEFAULTS]
    _, answer = call(address, "reconstruct", data)
    overlay = answer[1]["path"]
    again = [file_data(overlay), 0.0, 1, "fast", 0, *FILE_DEFAULTS]
    assert refusal(call(address, "reconstruct", again)) == NOT_UPLOADED


def test_equal_uploads_are_separate_files(address, secret):
    first, second = send_file(address, secret), send_file(address, secret)
    assert first != second and Path(first).read_bytes() == Path(second).read_bytes()


def test_upload_folder_of_the_helper_is_that_of_the_page(address, uploads):
    assert get_upload_folder() == str(uploads)
