# SPDX-License-Identifier: Apache-2.0
"""Files of images and labels are read as what they are, or refused before anything runs."""

from __future__ import annotations

import importlib.util
import shutil

import monai.data
import nibabel as nib
import numpy as np
import pytest

from monai_vafa.evaluation import AttackEvaluator
from monai_vafa.target import open_target

from . import zoo


@pytest.fixture
def case(tiny_zoo, tmp_path):
    """Target, and image and label in folders that may be changed."""
    bundle = tiny_zoo["slices"]
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        shutil.copy(bundle.data / f"{kind}Tr" / "case0.nii.gz", tmp_path / kind / "a.nii.gz")
    return open_target(bundle.folder), tmp_path / "images" / "a.nii.gz", tmp_path / "labels" / "a.nii.gz"


def voxels(path):
    image = nib.load(path)
    return np.asarray(image.dataobj), image.affine


def in_units(path, unit, factor):
    """The same file with a header in another unit of length."""
    data, affine = voxels(path)
    image = nib.Nifti1Image(data, np.diag([factor, factor, factor, 1]) @ affine)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1e3), ("meter", 1e-3), ("mm", 1), ("unknown", 1)])
@pytest.mark.parametrize("of", ["image", "label", "both"])
def test_units_of_the_header_are_those_of_the_affine(unit, factor, of, case):
    target, image, label = case
    folder = image.parents[1]
    expected = target.preprocess(target.cases(folder)[0])
    in_mm = voxels(image)[1]
    for path in [path for name, path in (("image", image), ("label", label)) if of in (name, "both")]:
        in_units(path, unit, factor)
    made = target.preprocess(target.cases(folder)[0])
    assert np.allclose(made["image"].affine, in_mm, atol=1e-3)
    assert np.array_equal(made["image"], expected["image"])
    assert np.array_equal(made["label"], expected["label"])


def test_resampling_is_in_millimetres(tiny_zoo, tmp_path):
    shutil.copytree(tiny_zoo["softmax"].data, tmp_path / "data")
    target = open_target(tiny_zoo["softmax"].folder)
    expected = target.preprocess(target.cases(tmp_path / "data")[0])
    in_units(tmp_path / "data" / "imagesTr" / "case0.nii.gz", "micron", 1e3)
    made = target.preprocess(target.cases(tmp_path / "data")[0])
    assert made["image"].shape == expected["image"].shape
    assert np.allclose(made["image"], expected["image"], atol=1e-3)


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1e3), ("meter", 1e-3), ("mm", 1)])
@pytest.mark.parametrize("grid", ["slices", "softmax"])
def test_saved_volumes_keep_codes_units_and_description_and_lie_where_they_were(unit, factor, grid, tiny_zoo, tmp_path):
    """On the grid of the file, and on another one."""
    data = shutil.copytree(tiny_zoo[grid].data, tmp_path / "data")
    path = data / "imagesTr" / "case0.nii.gz"
    in_units(path, unit, factor)
    given = nib.load(path)
    given.set_qform(given.affine, 1)
    given.set_sform(given.affine, 2)
    given.header["descrip"] = b"scanner 7"
    nib.save(given, path)
    target = open_target(tiny_zoo[grid].folder)
    [item, *_] = target.cases(data)
    AttackEvaluator(target=target, attacks=["gn"], cases=[item], output_dir=tmp_path / "out").run()
    saved = nib.load(tmp_path / "out" / "adversarial" / "case0_gn.nii.gz")
    assert [int(saved.header[f"{form}form_code"]) for form in "qs"] == [1, 2]
    assert saved.header.get_xyzt_units()[0] == unit
    assert saved.header["descrip"] == b"scanner 7"
    image = target.preprocess(item)["image"]
    in_mm = np.diag([1 / factor, 1 / factor, 1 / factor, 1])
    for affine in (saved.get_qform(), saved.get_sform(), np.diag([*saved.header.get_zooms()[:3], 1])):
        assert np.allclose(np.linalg.norm((in_mm @ affine)[:3, :3], axis=0), image.pixdim, atol=1e-3)
    assert np.allclose(in_mm @ saved.affine, image.affine, atol=1e-3)
    again = target.preprocess({"image": saved.get_filename()})["image"]
    assert again.shape == image.shape
    assert np.allclose(again.affine, image.affine, atol=1e-3)


def rgb(data, affine):
    made = np.zeros(data.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    return nib.Nifti1Image(made, affine)


def vector(data, affine):
    return nib.Nifti1Image(np.stack([data] * 3, -1)[..., None, :].astype(np.float32), affine)


def nowhere(data, affine):
    image = nib.Nifti1Image(data, affine)
    image.header["srow_x"], image.header["srow_y"], image.header["srow_z"] = 0, 0, 0
    return nib.Nifti1Image(data, None, image.header)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (rgb, r"of shape \(22, 18, 20\) holds R/G/B colours: save"),
        (lambda d, a: nib.Nifti1Image(d.astype(np.complex64), a), "holds complex numbers: save"),
        (vector, r"of shape \(22, 18, 20, 1, 3\) holds 5 axes.*numpy.squeeze\(voxels, \(3,\)\)"),
        (nowhere, r"has the affine \[\[0.0, 0.0, .*save it with the affine of the image"),
        (lambda d, a: nib.Nifti1Image(d[:, :, :0], a), r"of shape \(22, 18, 0\) holds no voxels"),
    ],
    ids=["rgb", "complex", "vector", "zero affine", "empty"],
)
@pytest.mark.parametrize("of", ["image", "label"])
def test_what_would_be_misread_is_refused_by_file_and_shape(make, said, of, case):
    target, image, label = case
    [item] = target.cases(image.parents[1])
    path = image if of == "image" else label
    nib.save(make(*voxels(path)), path)
    with pytest.raises(ValueError, match=rf"'.*{of}s/a\.nii\.gz' .*{said}"):
        target.cases(image.parents[1])
    with pytest.raises((ValueError, RuntimeError)) as raised:
        target.preprocess(item)
    assert f"{of}s/a.nii.gz" in str(raised.value.__cause__ or raised.value)


def test_the_ways_out_work(case):
    target, image, label = case
    expected = target.preprocess(target.cases(image.parents[1])[0])
    data, affine = voxels(label)
    five = data[..., None, None]
    nib.save(nib.Nifti1Image(five, affine), label)
    with pytest.raises(ValueError, match=r"numpy.squeeze\(voxels, \(3,\)\)"):
        target.cases(image.parents[1])
    nib.save(nib.Nifti1Image(np.squeeze(five, (3,)), affine), label)
    assert np.array_equal(target.preprocess(target.cases(image.parents[1])[0])["label"], expected["label"])
    nib.save(nowhere(data, affine), label)
    nib.save(nib.Nifti1Image(np.asarray(nib.load(label).dataobj), nib.load(image).affine), label)
    assert np.array_equal(target.preprocess(target.cases(image.parents[1])[0])["label"], expected["label"])


def test_images_of_other_channels_are_refused(case):
    target, image, _ = case
    data, affine = voxels(image)
    nib.save(nib.Nifti1Image(np.stack([data] * 3, -1), affine), image)
    with pytest.raises(ValueError, match=r"images/a.nii.gz' becomes \(3, .*takes 1 channels and 3 axes"):
        target.preprocess(target.cases(image.parents[1])[0])


def test_affines_are_kept_where_a_config_or_monai_drops_them(tmp_path):
    bundle = zoo.slices(tmp_path)
    expected = open_target(bundle.folder).preprocess(open_target(bundle.folder).cases(bundle.data)[0])
    config = monai.bundle.ConfigParser.load_config_file(str(bundle.folder / "configs" / "inference.json"))
    steps = config["preprocessing"]["transforms"]
    last = {"_target_": "EnsureTyped", "keys": "image", "track_meta": False}
    overrides = {"preprocessing": {"_target_": "Compose", "transforms": [*steps, last]}}
    target = open_target(bundle.folder, overrides=overrides)
    monai.data.set_track_meta(False)
    try:
        made = target.preprocess(target.cases(bundle.data)[0])
        assert not monai.data.get_track_meta()
    finally:
        monai.data.set_track_meta(True)
    assert np.array_equal(made["image"].affine, expected["image"].affine)
    assert np.array_equal(made["label"], expected["label"])
    lost = {"_target_": "FromMetaTensord", "keys": "image"}
    overrides = {"preprocessing": {"_target_": "Compose", "transforms": [*steps, lost]}}
    target = open_target(bundle.folder, overrides=overrides)
    with pytest.raises(ValueError, match=r"makes Tensor of .*which has no affine"):
        target.preprocess(target.cases(bundle.data)[0])


def test_nrrd_labels_are_read_or_a_reader_is_named(case):
    target, image, label = case
    expected = target.preprocess(target.cases(image.parents[1])[0])["label"]
    data, affine = voxels(label)
    label.unlink()
    # NRRD is LPS, NIfTI is RAS.
    lps = np.diag([-1, -1, 1, 1]) @ affine
    text = {"type": "uint8", "dimension": 3, "space": "left-posterior-superior"}
    text |= {"sizes": " ".join(map(str, data.shape)), "encoding": "raw", "kinds": "domain domain domain"}
    text["space directions"] = " ".join(f"({','.join(map(str, lps[:3, axis]))})" for axis in range(3))
    text["space origin"] = f"({','.join(map(str, lps[:3, 3]))})"
    header = "NRRD0004\n" + "".join(f"{key}: {value}\n" for key, value in text.items()) + "\n"
    label.with_name("a.nrrd").write_bytes(header.encode() + data.astype(np.uint8).tobytes(order="F"))
    if not (importlib.util.find_spec("nrrd") or importlib.util.find_spec("itk")):
        with pytest.raises(ValueError, match=r"a\.nrrd' can't be read: no reader.*pip install itk"):
            target.cases(image.parents[1])
        return
    assert np.array_equal(target.preprocess(target.cases(image.parents[1])[0])["label"], expected)


@pytest.mark.skipif(importlib.util.find_spec("itk") is not None, reason="itk reads all of these")
def test_files_and_folders_without_a_reader_are_refused(case, tmp_path, monkeypatch):
    target, image, _ = case
    shutil.move(image, image.with_name("a.mha"))
    with pytest.raises(ValueError, match=r"a\.mha' can't be read: no reader of files like a\.mha.*install itk"):
        target.cases(tmp_path)
    image.with_name("a.mha").unlink()
    (image.parent / "a").mkdir()
    (image.parent / "a" / "1.dcm").touch()
    loader = target.preprocessing.loader
    monkeypatch.setattr(loader, "readers", [each for each in loader.readers if "Pydicom" not in type(each).__name__])
    with pytest.raises(ValueError, match=r"images/a' .* no reader of folders of DICOM files\. pip install pydicom"):
        target.cases(tmp_path)
