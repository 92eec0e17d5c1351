# SPDX-License-Identifier: Apache-2.0
"""Folders of DICOM slices are images: their voxels and places are those of the files, or they are refused."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from monai_vafa.target import open_target

from . import zoo

pydicom = pytest.importorskip("pydicom")

CT = "1.2.840.10008.5.1.4.1.1.2"
ROW_SPACING, COLUMN_SPACING, STEP = 0.75, 1.25, 2.5
ORIGIN = np.array([-20.0, 15.0, 30.0])
AXIAL, CORONAL = (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1)


def write_series(folder, voxels, *, orientation=AXIAL, order=None, series=None):
    """Slices ``voxels[:, :, k]`` (rows, columns) as CT in HU, numbered in an order of their own; gives the affine."""
    folder.mkdir(parents=True, exist_ok=True)
    row, column = np.array(orientation, float).reshape(2, 3)
    normal = np.cross(row, column)
    series = series or pydicom.uid.generate_uid()
    for number, k in enumerate(range(voxels.shape[2]) if order is None else order):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CT, pydicom.uid.generate_uid()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        file = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
        file.SOPClassUID, file.SOPInstanceUID = CT, meta.MediaStorageSOPInstanceUID
        file.SeriesInstanceUID, file.Modality, file.SeriesDate = series, "CT", "20200101"
        file.InstanceNumber = number + 1
        file.ImageOrientationPatient = list(map(float, orientation))
        file.ImagePositionPatient = (ORIGIN + k * STEP * normal).tolist()
        file.PixelSpacing, file.SliceThickness = [ROW_SPACING, COLUMN_SPACING], STEP
        file.Rows, file.Columns = voxels.shape[:2]
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.BitsAllocated = file.BitsStored = 16
        file.HighBit, file.PixelRepresentation = 15, 0
        file.RescaleSlope, file.RescaleIntercept = 2, -1000
        file.PixelData = ((voxels[:, :, k] + 1000) // 2).astype("<u2").tobytes()
        file.save_as(folder / f"IM{number:03d}.dcm", enforce_file_format=True)
    # Columns, rows, slices -> RAS; DICOM is LPS.
    affine = np.eye(4)
    affine[:3] = np.stack([row * COLUMN_SPACING, column * ROW_SPACING, normal * STEP, ORIGIN], 1)
    return np.diag([-1, -1, 1, 1]) @ affine


@pytest.fixture
def voxels():
    """HU, even numbers."""
    return 2 * np.random.default_rng(0).integers(0, 50, (18, 22, 8))


@pytest.fixture
def target(tmp_path):
    """Turns nothing, resamples nothing; 0 to 100 become 0 to 1."""
    bundle = zoo.slices(tmp_path / "zoo")
    scale = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 100, "b_min": 0, "b_max": 1}
    load = {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True}
    steps = {"preprocessing": {"_target_": "Compose", "transforms": [load, {**scale, "clip": True}]}}
    return open_target(bundle.folder, overrides=steps)


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL])
@pytest.mark.parametrize("order", [None, [7, 6, 5, 4, 3, 2, 1, 0], [2, 0, 7, 4, 1, 6, 3, 5]])
@pytest.mark.parametrize("listed", [False, True])
def test_voxels_and_spacing_are_those_that_were_written(listed, order, orientation, voxels, target, tmp_path):
    data = tmp_path / "data"
    affine = write_series(data / "imagesTr" / "patient1", voxels, order=order, orientation=orientation)
    label = (voxels > 50).swapaxes(0, 1).astype(np.uint8)
    (data / "labelsTr").mkdir()
    nib.save(nib.Nifti1Image(label, affine), data / "labelsTr" / "patient1.nii.gz")
    if listed:
        case = {"image": "./imagesTr/patient1", "label": "./labelsTr/patient1.nii.gz"}
        (data / "dataset.json").write_text(json.dumps({"labels": {}, "training": [case]}))
    [case] = target.cases(data)
    made = target.preprocess(case)
    image = made["image"]
    # Slices may be stored in either direction: what counts is where they are.
    assert np.allclose(np.sort(image.pixdim), np.sort([COLUMN_SPACING, ROW_SPACING, STEP]))
    there = nib.Nifti1Image(np.asarray(image[0]), image.affine.numpy())
    written = nib.Nifti1Image(voxels.swapaxes(0, 1).astype(np.float32), affine)
    one, other = nib.as_closest_canonical(there), nib.as_closest_canonical(written)
    assert np.allclose(one.affine, other.affine, atol=1e-4)
    assert np.allclose(100 * one.get_fdata(), other.get_fdata(), atol=1e-3)
    assert np.array_equal(np.asarray(made["label"]) == 1, np.asarray(image) * 100 > 50.5)


def test_folders_that_are_not_one_volume_are_refused(voxels, target, tmp_path):
    images = tmp_path / "images"
    write_series(images / "a", voxels, order=[0, 1, 2, 4, 5])
    with pytest.raises(ValueError, match=r"images/a' holds 5 slices of 1 series, 2\.5 to 5 mm apart.*none missing"):
        target.cases(tmp_path)
    (images / "a" / "IM003.dcm").unlink()
    (images / "a" / "IM004.dcm").unlink()
    assert target.preprocess(target.cases(tmp_path)[0])["image"].shape == (1, 22, 18, 3)
    write_series(images / "b", voxels[:, :, :4])
    write_series(tmp_path / "more", voxels[:, :, :4])
    for file in (tmp_path / "more").iterdir():
        file.rename(images / "b" / f"second_{file.name}")
    with pytest.raises(ValueError, match=r"images/b' holds 8 slices of 2 series, 0 to 2\.5 mm apart"):
        target.cases(tmp_path)


def test_series_that_go_on_in_another_one_and_slices_that_are_there_twice_are_refused(voxels, target, tmp_path):
    folder = tmp_path / "images" / "a"
    write_series(folder, voxels, order=[0, 1])
    write_series(tmp_path / "more", voxels, order=[2, 3])
    for file in (tmp_path / "more").iterdir():
        file.rename(folder / f"second_{file.name}")
    with pytest.raises(ValueError, match=r"images/a' holds 4 slices of 2 series, 2\.5 to 2\.5 mm apart"):
        target.cases(tmp_path)
    for file in folder.iterdir():
        file.unlink()
    write_series(folder, voxels, order=[3, 3])
    with pytest.raises(ValueError, match=r"images/a' holds 2 slices of 1 series, 0 to 0 mm apart.*each slice once"):
        target.cases(tmp_path)


def test_folders_without_slices_and_damaged_slices_are_refused(voxels, target, tmp_path):
    folder = tmp_path / "imagesTr" / "a"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("no slices")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {}, "test": ["./imagesTr/a"]}))
    with pytest.raises(ValueError, match="imagesTr/a' holds no DICOM files"):
        target.cases(tmp_path)
    write_series(folder, voxels)
    assert len(target.cases(tmp_path)) == 1
    (folder / "IM007.dcm").write_text("half a file")
    with pytest.raises(ValueError, match=r"imagesTr/a' holds 'IM007\.dcm', which can't be read as DICOM"):
        target.cases(tmp_path)


def test_slices_without_a_place_are_refused(voxels, target, tmp_path):
    write_series(tmp_path / "images" / "a", voxels)
    file = pydicom.dcmread(tmp_path / "images" / "a" / "IM003.dcm")
    del file.ImagePositionPatient
    file.save_as(tmp_path / "images" / "a" / "IM003.dcm")
    with pytest.raises(ValueError, match="images/a' holds slices without ImagePositionPatient"):
        target.cases(tmp_path)
