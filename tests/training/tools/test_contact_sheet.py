import cv2
import numpy as np
import pytest

from training.tools.contact_sheet import build_contact_sheet, main


def test_images_are_arranged_in_rows_and_columns():
    rows = [[np.full((30, 60, 3), 10 * k, np.uint8), np.full((30, 60, 3), 10 * k + 5, np.uint8)]
            for k in range(1, 4)]  # fmt: skip
    sheet = build_contact_sheet(rows, columns=2, width=20)
    assert sheet.shape == (10 + 4 + 10, 40 + 4 + 40, 3)
    for k, (y, x) in enumerate([(0, 0), (0, 44), (14, 0)], start=1):
        assert (sheet[y : y + 10, x : x + 20] == 10 * k).all()
        assert (sheet[y : y + 10, x + 20 : x + 40] == 10 * k + 5).all()
    assert (sheet[10:14] == 255).all() and (sheet[14:, 40:] == 255).all()


def test_photos_and_scenes_are_drawn(tmp_path, capsys):
    out = tmp_path / "sheet.jpg"
    photo = "assets/examples/scene_two.jpg"
    views = ["--views", "photo", "overlay", "depth", "--threshold", "0.05"]
    assert main([photo, "--scenes", "1", *views, "--width", "96", "--out", str(out)]) == 0
    sheet = cv2.imread(str(out))
    assert sheet.shape == (4 * 72 + 3 * 4, 3 * 96, 3)
    photo, overlay, depth = np.split(sheet[:72].astype(int), 3, axis=1)
    assert (np.abs(photo - overlay).max(-1) > 60).any()
    assert (np.abs(overlay - depth).max(-1) > 60).any()
    assert main(["--scene", "group/00002", "single/1", "--width", "96", "--out", str(out)]) == 0
    assert cv2.imread(str(out)).shape == (2 * 72 + 4, 2 * 96, 3)
    assert main(["--out", str(out)]) == 1
    assert main(["nowhere.jpg", "--out", str(out)]) == 1
    assert main([photo_path(tmp_path), "--out", str(tmp_path / "no" / "sheet.jpg")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 3


@pytest.mark.parametrize("name", ["group/", "group", "street/3", "/3"])
def test_a_wrong_scene_is_named(name, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--scene", name, "--out", str(tmp_path / "sheet.jpg")])
    assert f"{name} is no scene, for example group/00012" in capsys.readouterr().err


def photo_path(folder):
    path = folder / "small.png"
    cv2.imwrite(str(path), np.zeros((20, 20, 3), np.uint8))
    return str(path)
