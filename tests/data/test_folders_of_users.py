# SPDX-License-Identifier: Apache-2.0
"""Folders as users have them: every image and label is used, or named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from monai_vafa.data import folder_cases

from .test_folder import fill


def names(cases):
    """Case by case, without the folders above."""

    def short(value):
        return [Path(path).name for path in value] if isinstance(value, list) else Path(value).name

    return [{key: short(value) for key, value in case.items()} for case in cases]


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".seg.nrrd", ".nii", ".NII.GZ"])
@pytest.mark.parametrize(
    ("images", "labels"),
    [("images", "labels"), ("imagesTr", "labelsTr"), (".", "labels/final"), ("images", "labels/final"), (".", "masks")],
)
def test_labels_of_any_format_and_usual_place_are_used(ending, images, labels, tmp_path, caplog):
    fill(tmp_path, f"{images}/a.nii.gz", f"{images}/b.nii.gz", f"{labels}/a{ending}", f"{labels}/b{ending}")
    cases = folder_cases(tmp_path)
    assert names(cases) == [{"image": f"{n}.nii.gz", "label": f"{n}{ending}"} for n in "ab"]
    assert not caplog.text


def test_final_labels_come_before_those_that_a_model_proposed(tmp_path, caplog):
    fill(tmp_path, "a.nii.gz", "labels/original/a.nii.gz", "labels/final/a.nii.gz")
    [case] = folder_cases(tmp_path)
    assert case["label"] == str(tmp_path / "labels" / "final" / "a.nii.gz")
    assert "not read in" in caplog.text
    assert "labels/original/ (1 files)" in caplog.text


def test_images_of_several_formats_are_all_read(tmp_path):
    fill(tmp_path, "images/a.nii.gz", "images/b.nrrd", "images/c.mha", "labels/a.nii", "labels/b.nii", "labels/c.nii")
    assert names(folder_cases(tmp_path)) == [
        {"image": image, "label": f"{image[0]}.nii"} for image in ("a.nii.gz", "b.nrrd", "c.mha")
    ]


def test_what_is_not_read_is_named_and_so_are_missing_labels(tmp_path, caplog):
    fill(tmp_path, "images/a.nii.gz", "images/b.xyz", "images/preview.png", "images/notes.txt", "other/c.nii.gz")
    assert names(folder_cases(tmp_path)) == [{"image": "a.nii.gz"}]
    missing, unread = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert "no labels found for 1 of 1 images" in missing
    assert unread.endswith("images/b.xyz, images/preview.png, other/ (1 files)")


def test_numbers_of_cases_are_no_channels(tmp_path):
    fill(tmp_path, *(f"pancreas_000{n}.nii.gz" for n in (1, 2, 3)))
    assert [case["image"] for case in names(folder_cases(tmp_path))] == [f"pancreas_000{n}.nii.gz" for n in (1, 2, 3)]


@pytest.mark.parametrize("first", [0, 1])
def test_a_label_with_the_number_belongs_to_the_image_with_it(first, tmp_path):
    fill(tmp_path, *(f"{kind}/p_000{n}.nii.gz" for kind in ("images", "labels") for n in (first, first + 1)))
    expected = [{key: f"p_000{n}.nii.gz" for key in ("image", "label")} for n in (first, first + 1)]
    assert names(folder_cases(tmp_path, channels=2)) == expected


def test_channels_are_as_many_as_the_network_takes(tmp_path):
    fill(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz")
    assert len(folder_cases(tmp_path, channels=2)) == 1
    assert len(folder_cases(tmp_path, channels=1)) == 2
    with pytest.raises(ValueError, match=r"a_0000, a_0001 .* are not the channels of a case 'a': the network takes 4"):
        folder_cases(tmp_path, channels=4)
    fill(tmp_path, "labels/a.nii.gz")
    with pytest.raises(ValueError, match="the network takes 1"):
        folder_cases(tmp_path, channels=1)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (("a_0000.nii.gz", "a_0002.nii.gz"), "channels are numbered 0000, 0001"),
        (("a_0001.nii.gz", "a_0002.nii.gz"), "channels are numbered 0000, 0001"),
        (("a_0000.nii.gz", "a_0001.nii"), "channels have the same ending"),
        (("a.nii.gz", "a_0000.nii.gz"), "there is an image of this name, too"),
    ],
)
def test_channels_that_are_none_are_refused(files, reason, tmp_path):
    fill(tmp_path, *(f"images/{file}" for file in files), "labels/a.nii.gz")
    with pytest.raises(ValueError, match=reason):
        folder_cases(tmp_path)


@pytest.mark.parametrize("where", ["images", "labels"])
@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
def test_two_files_of_one_name_are_refused(where, ending, tmp_path):
    fill(tmp_path, "images/a.nii.gz", "labels/a.nii.gz", f"{where}/a{ending}")
    with pytest.raises(ValueError, match="have the same name: move one"):
        folder_cases(tmp_path)


def test_headers_with_data_of_their_own_are_one_image(tmp_path, caplog):
    fill(tmp_path, "images/a.hdr", "images/a.img", "images/b.mhd", "images/b.raw", "labels/a.nii", "labels/b.nii")
    assert [case["image"] for case in names(folder_cases(tmp_path))] == ["a.img", "b.mhd"]
    assert not caplog.text


def test_second_nnunet(tmp_path):
    content = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0}, "numTraining": 1}
    (tmp_path / "dataset.json").write_text(json.dumps({**content, "file_ending": ".nii.gz"}))
    fill(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz", "imagesTs/b_0000.nii.gz")
    fill(tmp_path, "imagesTs/b_0001.nii.gz")
    expected = {"image": ["a_0000.nii.gz", "a_0001.nii.gz"], "label": "a.nii.gz"}
    assert names(folder_cases(tmp_path)) == names(folder_cases(tmp_path, section="training")) == [expected]
    assert names(folder_cases(tmp_path, section="test")) == [{"image": ["b_0000.nii.gz", "b_0001.nii.gz"]}]
    with pytest.raises(ValueError, match="section='validation' must be 'training' or 'test'"):
        folder_cases(tmp_path, section="validation")
    listed = {"x": {"images": ["imagesTs/b_0000.nii.gz", "imagesTs/b_0001.nii.gz"], "label": "labelsTr/a.nii.gz"}}
    (tmp_path / "dataset.json").write_text(json.dumps({**content, "dataset": listed}))
    assert names(folder_cases(tmp_path)) == [{"image": ["b_0000.nii.gz", "b_0001.nii.gz"], "label": "a.nii.gz"}]


def test_first_nnunet_lists_images_without_the_numbers_of_channels(tmp_path):
    fill(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    case = {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {}, "training": [case]}))
    assert names(folder_cases(tmp_path)) == [{"image": "a_0000.nii.gz", "label": "a.nii.gz"}]


def test_folders_that_repeat_the_name_of_their_file(tmp_path):
    fill(tmp_path, "images/a.nii.gz/a.nii.gz", "images/b/b.nii", "labels/a.nii.gz", "labels/b/b.nii.gz")
    expected = [{"image": "a.nii.gz", "label": "a.nii.gz"}, {"image": "b.nii", "label": "b.nii.gz"}]
    assert names(folder_cases(tmp_path)) == expected
    assert all(Path(case["image"]).is_file() for case in folder_cases(tmp_path))
    shutil.move(tmp_path, tmp_path.with_name("moved"))
    (tmp_path / "data").mkdir(parents=True)
    shutil.move(tmp_path.with_name("moved"), tmp_path / "data" / "data")
    assert names(folder_cases(tmp_path / "data")) == expected


def test_a_folder_of_dicom_files_is_an_image(tmp_path):
    fill(tmp_path, "images/a/1.dcm", "images/a/2.dcm", "labels/a.nii.gz")
    (tmp_path / "images" / "b").mkdir()
    (tmp_path / "images" / "b" / "IM1").write_bytes(bytes(128) + b"DICM")
    fill(tmp_path, "labels/b.nii.gz")
    assert names(folder_cases(tmp_path)) == [{"image": name, "label": f"{name}.nii.gz"} for name in "ab"]


@pytest.mark.parametrize("word", ["_seg", "-label", ".mask", "_GT", "_segmentation"])
def test_labels_beside_their_images_are_labels(word, tmp_path, caplog):
    fill(tmp_path, *(f"{name}{end}" for name in ("a", "b") for end in (".nii.gz", f"{word}.nrrd")))
    assert names(folder_cases(tmp_path)) == [{"image": f"{n}.nii.gz", "label": f"{n}{word}.nrrd"} for n in "ab"]
    assert not caplog.text
    (tmp_path / f"b{word}.nrrd").unlink()
    with pytest.raises(ValueError, match=r"1 of 2 images have no label in .* 'b' for one"):
        folder_cases(tmp_path)


def test_a_folder_of_labels_comes_before_what_lies_beside_the_images(tmp_path, caplog):
    fill(tmp_path, "images/a.nii.gz", "images/a_mask.nii.gz", "labels/a.nii.gz")
    assert names(folder_cases(tmp_path)) == [{"image": "a.nii.gz", "label": "a.nii.gz"}]
    assert "images/a_mask.nii.gz" in caplog.text


def test_labels_beside_several_channels(tmp_path):
    fill(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz", "a_seg.nii.gz")
    assert names(folder_cases(tmp_path)) == [{"image": ["a_0000.nii.gz", "a_0001.nii.gz"], "label": "a_seg.nii.gz"}]


def test_patients_and_channels_have_numbers_of_their_own(tmp_path, caplog):
    images = [f"imagesTr/pancreas_000{patient}_000{channel}.nii.gz" for patient in (1, 2) for channel in (0, 1)]
    fill(tmp_path, *images, "labelsTr/pancreas_0001.mha", "labelsTr/pancreas_0002.mha")
    assert names(folder_cases(tmp_path, channels=2)) == [
        {"image": [f"pancreas_000{n}_000{c}.nii.gz" for c in (0, 1)], "label": f"pancreas_000{n}.mha"} for n in (1, 2)
    ]
    assert not caplog.text


def test_channels_that_nothing_but_their_names_tell_are_a_warning(tmp_path, caplog):
    fill(tmp_path, "pancreas_0000.nii.gz", "pancreas_0001.nii.gz")
    assert len(folder_cases(tmp_path)) == 1
    assert "['pancreas_0000', 'pancreas_0001'] are read as the channels of one image" in caplog.text
    caplog.clear()
    folder_cases(tmp_path, channels=2)
    assert "channels of one image" not in caplog.text


@pytest.mark.parametrize(
    ("label", "reason"),
    [("a_0001.nii.gz", "1 of 2 images have no label"), ("b.nii.gz", "2 of 2 images have no label")],
)
def test_labels_of_other_names_are_refused(label, reason, tmp_path):
    fill(tmp_path, "images/a_0000.nii.gz", "images/a_0001.nii.gz", f"labels/{label}")
    with pytest.raises(ValueError, match=reason):
        folder_cases(tmp_path, channels=2)


def nnunet(folder, **more):
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0}, "numTraining": 1, **more}
    (folder / "dataset.json").write_text(json.dumps(content))


def test_nnunet_reads_files_of_one_ending_and_the_others_are_named(tmp_path, caplog):
    fill(tmp_path, "imagesTr/a_0000.nrrd", "imagesTr/a_0000.nii.gz", "labelsTr/a.nrrd", "labelsTr/a.nii.gz")
    fill(tmp_path, "imagesTr/b_0001.nrrd.bak", "imagesTs/c_0000.nrrd")
    nnunet(tmp_path, file_ending=".nrrd")
    assert names(folder_cases(tmp_path)) == [{"image": "a_0000.nrrd", "label": "a.nrrd"}]
    [warning] = [record.message for record in caplog.records]
    assert warning.endswith("imagesTr/a_0000.nii.gz, imagesTr/b_0001.nrrd.bak, labelsTr/a.nii.gz")


def test_cases_that_nnunet_lists_are_those_of_the_training(tmp_path):
    listed = {"a": {"images": ["imagesTr/a_0000.nii.gz"], "label": "labelsTr/a.nii.gz"}}
    fill(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTs/b_0000.nii.gz")
    nnunet(tmp_path, dataset={**listed, "c": {"images": ["imagesTr/c_0000.nii.gz"]}})
    assert [case.keys() for case in folder_cases(tmp_path)] == [{"image", "label"}, {"image"}]
    assert names(folder_cases(tmp_path, section="test")) == [{"image": "b_0000.nii.gz"}]


def test_listed_images_have_all_their_channels(tmp_path):
    fill(tmp_path, "imagesTr/a[1]_0000.nii.gz", "imagesTr/a[1]_0002.nii.gz", "labelsTr/a[1].nii.gz")
    case = {"image": "./imagesTr/a[1].nii.gz", "label": "./labelsTr/a[1].nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {}, "training": [case]}))
    with pytest.raises(ValueError, match="channels are numbered 0000, 0001"):
        folder_cases(tmp_path)
    (tmp_path / "imagesTr" / "a[1]_0002.nii.gz").rename(tmp_path / "imagesTr" / "a[1]_0001.nii.gz")
    [case] = names(folder_cases(tmp_path, channels=2))
    assert case["image"] == ["a[1]_0000.nii.gz", "a[1]_0001.nii.gz"]
    with pytest.raises(ValueError, match="the network takes 1"):
        folder_cases(tmp_path, channels=1)


def test_a_dataset_json_that_can_not_be_read_is_named(tmp_path):
    fill(tmp_path, "images/a.nii.gz")
    (tmp_path / "dataset.json").write_text("{'training': []}")
    with pytest.raises(ValueError, match=r"dataset\.json' is not JSON: .*Correct it"):
        folder_cases(tmp_path)


def test_files_of_other_sections_are_not_missed(tmp_path, caplog):
    fill(tmp_path, *(f"{kind}Tr/{name}.nii.gz" for kind in ("images", "labels") for name in "ab"))
    lists = {
        section: [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}]
        for section, name in (("training", "a"), ("validation", "b"))
    }
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {}, "numTraining": 1, **lists}))
    assert names(folder_cases(tmp_path)) == [{"image": "b.nii.gz", "label": "b.nii.gz"}]
    assert not caplog.text
