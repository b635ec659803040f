"""Write the folders beside this file with other libraries: run in an environment that has them.

    pip install supervision==0.31.2 globox==2.9.0 datumaro==1.13.12 pycocotools
    python tests/data/formats/record.py

Images are left out; the tests draw them again from ``truth.json``, which is in pycocotools' form.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import cv2
import datumaro
import numpy as np
import supervision
from globox import AnnotationSet
from pycocotools import mask

HERE = Path(__file__).parent
CATEGORIES = [(3, "cat", "pet"), (7, "red car", "thing"), (8, "unused", "thing")]
IMAGES = {
    "train": [("a.jpg", 64, 48), ("b.png", 50, 70), ("empty.jpg", 40, 40)],
    "val": [("c.jpg", 80, 60)],
}
OBJECTS = {
    "a.jpg": [(3, [5, 6, 20, 30]), (7, [10, 11, 30, 20])],
    "b.png": [(7, [0, 0, 50, 70])],
    "c.jpg": [(3, [7, 9, 13, 21]), (7, [30, 20, 40, 25])],
}
POLYGONS = {("a.jpg", 7): [[10, 11, 40, 11, 25, 31]]}


def crowd() -> dict[str, object]:
    """A region of the first image in the run lengths of pycocotools."""
    pixels = np.zeros((48, 64), np.uint8, order="F")
    pixels[10:20, 5:50] = 1
    encoded = mask.encode(pixels)
    return {"size": [48, 64], "counts": encoded["counts"].decode()}


def document(split: str, *, plain: bool) -> dict[str, object]:
    """One split; ``plain`` leaves out the crowd and the polygon."""
    images, annotations = [], []
    for number, (name, width, height) in enumerate(IMAGES[split], start=41):
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for category, box in OBJECTS.get(name, []):
            outline = [] if plain else POLYGONS.get((name, category), [])
            annotations.append(annotation(number, category, box, outline))
        if name == "a.jpg" and not plain:
            whole = annotation(number, 7, [5, 10, 45, 10], crowd())
            annotations.append(whole | {"iscrowd": 1, "area": 450})
    for number, one in enumerate(annotations, start=1):
        one["id"] = number
    categories = [{"id": id, "name": name, "supercategory": s} for id, name, s in CATEGORIES]
    return {"images": images, "annotations": annotations, "categories": categories}


def annotation(image: int, category: int, box: list[int], outline: object) -> dict[str, object]:
    return {
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
        "segmentation": outline,
    }


def main() -> None:
    """Write them all again."""
    work = Path(tempfile.mkdtemp())
    for split, images in IMAGES.items():
        for name, width, height in images:
            path = work / "images" / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((height, width, 3), (90, 120, 150), np.uint8))
    (work / "annotations").mkdir()
    (work / "plain").mkdir()
    for split in IMAGES:
        for folder, plain in (("annotations", False), ("plain", True)):
            text = json.dumps(document(split, plain=plain))
            (work / folder / f"instances_{split}.json").write_text(text)
    for folder in ("pycocotools", "supervision", "globox", "datumaro"):
        shutil.rmtree(HERE / folder, ignore_errors=True)
        (HERE / folder).mkdir()
    shutil.copytree(work / "annotations", HERE / "pycocotools" / "annotations")
    write_supervision(work, HERE / "supervision")
    write_globox(work, HERE / "globox")
    write_datumaro(work, HERE / "datumaro")
    (HERE / "truth.json").write_text(json.dumps({"images": IMAGES, "objects": OBJECTS}) + "\n")


def write_supervision(work: Path, target: Path) -> None:
    for split in IMAGES:
        made = supervision.DetectionDataset.from_coco(
            str(work / "images" / split), str(work / "plain" / f"instances_{split}.json")
        )
        made.as_pascal_voc(annotations_directory_path=str(target / "voc" / split))
        made.as_coco(annotations_path=str(target / "coco" / f"instances_{split}.json"))
        made.as_yolo(annotations_directory_path=str(target / "yolo" / "labels" / split))
        made.as_yolo(data_yaml_path=str(target / "yolo" / "data.yaml"))


def write_globox(work: Path, target: Path) -> None:
    for split in IMAGES:
        made = AnnotationSet.from_coco(work / "plain" / f"instances_{split}.json")
        (target / "voc").mkdir(parents=True, exist_ok=True)
        (target / "coco").mkdir(exist_ok=True)
        (target / "labels").mkdir(exist_ok=True)
        made.save_pascal_voc(target / "voc" / split)
        made.save_coco(target / "coco" / f"instances_{split}.json", auto_ids=True)
        made.save_yolo_v5(target / "labels" / split, label_to_id={"cat": 0, "red car": 1})


def write_datumaro(work: Path, target: Path) -> None:
    shutil.rmtree(work / "annotations")
    (work / "plain").rename(work / "annotations")
    made = datumaro.Dataset.import_from(str(work), "coco_instances")
    for name in ("voc_detection", "coco_instances", "yolo", "yolo_ultralytics", "cvat"):
        made.export(str(target / name), name, save_media=False)


if __name__ == "__main__":
    main()
