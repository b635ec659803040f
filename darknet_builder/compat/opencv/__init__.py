"""``cv2.dnn`` with the Darknet importer, which OpenCV 5 no longer has.

Use it as ``from darknet_builder.compat import opencv as dnn``. Names, arguments and results are
OpenCV 4's. All other names of ``cv2.dnn`` are OpenCV's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.compat.opencv.blobs import Image2BlobParams as Image2BlobParams
    from darknet_builder.compat.opencv.blobs import NMSBoxes as NMSBoxes
    from darknet_builder.compat.opencv.blobs import NMSBoxesBatched as NMSBoxesBatched
    from darknet_builder.compat.opencv.blobs import NMSBoxesRotated as NMSBoxesRotated
    from darknet_builder.compat.opencv.blobs import blobFromImage as blobFromImage
    from darknet_builder.compat.opencv.blobs import blobFromImages as blobFromImages
    from darknet_builder.compat.opencv.blobs import (
        blobFromImagesWithParams as blobFromImagesWithParams,
    )
    from darknet_builder.compat.opencv.blobs import (
        blobFromImageWithParams as blobFromImageWithParams,
    )
    from darknet_builder.compat.opencv.blobs import imagesFromBlob as imagesFromBlob
    from darknet_builder.compat.opencv.blobs import softNMSBoxes as softNMSBoxes
    from darknet_builder.compat.opencv.constants import DNN_BACKEND_CANN as DNN_BACKEND_CANN
    from darknet_builder.compat.opencv.constants import DNN_BACKEND_CUDA as DNN_BACKEND_CUDA
    from darknet_builder.compat.opencv.constants import DNN_BACKEND_DEFAULT as DNN_BACKEND_DEFAULT
    from darknet_builder.compat.opencv.constants import DNN_BACKEND_HALIDE as DNN_BACKEND_HALIDE
    from darknet_builder.compat.opencv.constants import (
        DNN_BACKEND_INFERENCE_ENGINE as DNN_BACKEND_INFERENCE_ENGINE,
    )
    from darknet_builder.compat.opencv.constants import DNN_BACKEND_OPENCV as DNN_BACKEND_OPENCV
    from darknet_builder.compat.opencv.constants import DNN_BACKEND_TIMVX as DNN_BACKEND_TIMVX
    from darknet_builder.compat.opencv.constants import DNN_BACKEND_VKCOM as DNN_BACKEND_VKCOM
    from darknet_builder.compat.opencv.constants import DNN_BACKEND_WEBNN as DNN_BACKEND_WEBNN
    from darknet_builder.compat.opencv.constants import (
        DNN_PMODE_CROP_CENTER as DNN_PMODE_CROP_CENTER,
    )
    from darknet_builder.compat.opencv.constants import DNN_PMODE_LETTERBOX as DNN_PMODE_LETTERBOX
    from darknet_builder.compat.opencv.constants import DNN_PMODE_NULL as DNN_PMODE_NULL
    from darknet_builder.compat.opencv.constants import DNN_TARGET_CPU as DNN_TARGET_CPU
    from darknet_builder.compat.opencv.constants import DNN_TARGET_CPU_FP16 as DNN_TARGET_CPU_FP16
    from darknet_builder.compat.opencv.constants import DNN_TARGET_CUDA as DNN_TARGET_CUDA
    from darknet_builder.compat.opencv.constants import DNN_TARGET_CUDA_FP16 as DNN_TARGET_CUDA_FP16
    from darknet_builder.compat.opencv.constants import DNN_TARGET_FPGA as DNN_TARGET_FPGA
    from darknet_builder.compat.opencv.constants import DNN_TARGET_HDDL as DNN_TARGET_HDDL
    from darknet_builder.compat.opencv.constants import DNN_TARGET_MYRIAD as DNN_TARGET_MYRIAD
    from darknet_builder.compat.opencv.constants import DNN_TARGET_NPU as DNN_TARGET_NPU
    from darknet_builder.compat.opencv.constants import DNN_TARGET_OPENCL as DNN_TARGET_OPENCL
    from darknet_builder.compat.opencv.constants import (
        DNN_TARGET_OPENCL_FP16 as DNN_TARGET_OPENCL_FP16,
    )
    from darknet_builder.compat.opencv.constants import DNN_TARGET_VULKAN as DNN_TARGET_VULKAN
    from darknet_builder.compat.opencv.installation import install as install
    from darknet_builder.compat.opencv.models import ClassificationModel as ClassificationModel
    from darknet_builder.compat.opencv.models import DetectionModel as DetectionModel
    from darknet_builder.compat.opencv.models import Model as Model
    from darknet_builder.compat.opencv.net import LayerInfo as LayerInfo
    from darknet_builder.compat.opencv.net import Net as Net
    from darknet_builder.compat.opencv.reading import readNet as readNet
    from darknet_builder.compat.opencv.reading import readNetFromDarknet as readNetFromDarknet
else:
    _find_here, __all__ = lazy_names(__name__)

    def __getattr__(name: str) -> Any:
        """Return a name of this package, or else OpenCV's own: ``readNetFromONNX``."""
        if name in __all__ or name.startswith("_"):
            return _find_here(name)
        from darknet_builder.compat.opencv.blobs import find

        return find(name)
