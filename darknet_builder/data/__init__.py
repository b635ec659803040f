"""Data sets: Darknet's ``.data`` files, lists, labels, drawn scenes, and augmentation.

``formats`` reads and writes the data sets of other programs, ``sets`` checks, counts, splits and
merges whole sets. Batches and their order belong in ``training``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.data.anchors import Anchors as Anchors
    from darknet_builder.data.anchors import find_anchors as find_anchors
    from darknet_builder.data.class_lists import ClassedImage as ClassedImage
    from darknet_builder.data.class_lists import ClassedImages as ClassedImages
    from darknet_builder.data.class_lists import class_labels as class_labels
    from darknet_builder.data.class_lists import load_classed_images as load_classed_images
    from darknet_builder.data.classifier_augmentation import ClassifierRule as ClassifierRule
    from darknet_builder.data.data_file import DataFile as DataFile
    from darknet_builder.data.detector_augmentation import AugmentRule as AugmentRule
    from darknet_builder.data.detector_augmentation import make_sample as make_sample
    from darknet_builder.data.formats.convert import convert_dataset as convert_dataset
    from darknet_builder.data.formats.finding import open_dataset as open_dataset
    from darknet_builder.data.image_set import ImageSet as ImageSet
    from darknet_builder.data.image_set import LabelledImage as LabelledImage
    from darknet_builder.data.image_set import load_images as load_images
    from darknet_builder.data.sample import Sample as Sample
    from darknet_builder.data.scenes import Scene as Scene
    from darknet_builder.data.scenes import draw_scene as draw_scene
    from darknet_builder.data.scenes import write_scenes as write_scenes
else:
    __getattr__, __all__ = lazy_names(__name__)
