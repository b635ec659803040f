"""AlexeyAB's ``darknet.py``: the same functions, arguments, tuples and order, without libdarknet.

Change ``import darknet`` to ``from darknet_builder.compat import darknet``. Only names that
``darknet.py`` has belong here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    # Scripts take these from darknet.py, which once imported everything from ctypes.
    from ctypes import POINTER as POINTER
    from ctypes import byref as byref
    from ctypes import c_char_p as c_char_p
    from ctypes import c_float as c_float
    from ctypes import c_int as c_int
    from ctypes import pointer as pointer

    from darknet_builder.compat.darknet.detecting import decode_detection as decode_detection
    from darknet_builder.compat.darknet.detecting import detect as detect
    from darknet_builder.compat.darknet.detecting import detect_image as detect_image
    from darknet_builder.compat.darknet.detecting import remove_negatives as remove_negatives
    from darknet_builder.compat.darknet.detecting import (
        remove_negatives_faster as remove_negatives_faster,
    )
    from darknet_builder.compat.darknet.freeing import (
        free_batch_detections as free_batch_detections,
    )
    from darknet_builder.compat.darknet.freeing import free_detections as free_detections
    from darknet_builder.compat.darknet.freeing import free_image as free_image
    from darknet_builder.compat.darknet.freeing import free_network_ptr as free_network_ptr
    from darknet_builder.compat.darknet.freeing import free_ptrs as free_ptrs
    from darknet_builder.compat.darknet.images import copy_image_from_bytes as copy_image_from_bytes
    from darknet_builder.compat.darknet.images import letterbox_image as letterbox_image
    from darknet_builder.compat.darknet.images import load_image as load_image
    from darknet_builder.compat.darknet.images import make_image as make_image
    from darknet_builder.compat.darknet.images import rgbgr_image as rgbgr_image
    from darknet_builder.compat.darknet.networks import init_cpu as init_cpu
    from darknet_builder.compat.darknet.networks import load_meta as load_meta
    from darknet_builder.compat.darknet.networks import load_net as load_net
    from darknet_builder.compat.darknet.networks import load_net_custom as load_net_custom
    from darknet_builder.compat.darknet.networks import load_network as load_network
    from darknet_builder.compat.darknet.networks import network_height as network_height
    from darknet_builder.compat.darknet.networks import network_width as network_width
    from darknet_builder.compat.darknet.networks import reset_rnn as reset_rnn
    from darknet_builder.compat.darknet.networks import set_gpu as set_gpu
    from darknet_builder.compat.darknet.predicting import get_network_boxes as get_network_boxes
    from darknet_builder.compat.darknet.predicting import network_predict as network_predict
    from darknet_builder.compat.darknet.predicting import (
        network_predict_batch as network_predict_batch,
    )
    from darknet_builder.compat.darknet.predicting import predict as predict
    from darknet_builder.compat.darknet.predicting import predict_image as predict_image
    from darknet_builder.compat.darknet.predicting import (
        predict_image_letterbox as predict_image_letterbox,
    )
    from darknet_builder.compat.darknet.showing import bbox2points as bbox2points
    from darknet_builder.compat.darknet.showing import class_colors as class_colors
    from darknet_builder.compat.darknet.showing import draw_boxes as draw_boxes
    from darknet_builder.compat.darknet.showing import print_detections as print_detections
    from darknet_builder.compat.darknet.structures import BOX as BOX
    from darknet_builder.compat.darknet.structures import DETECTION as DETECTION
    from darknet_builder.compat.darknet.structures import DETNUMPAIR as DETNUMPAIR
    from darknet_builder.compat.darknet.structures import IMAGE as IMAGE
    from darknet_builder.compat.darknet.structures import METADATA as METADATA
    from darknet_builder.compat.darknet.suppression import do_nms_obj as do_nms_obj
    from darknet_builder.compat.darknet.suppression import do_nms_sort as do_nms_sort
else:
    __getattr__, __all__ = lazy_names(__name__)
