"""What AlexeyAB's ``darknet_images.py`` does with ``darknet``: a program as people have it.

Tests run it with nothing but its line ``import darknet`` changed.
"""

import argparse
import os
import random

import cv2
import darknet
import numpy as np


def parser():
    parser = argparse.ArgumentParser(description="YOLO Object Detection")
    parser.add_argument("--input", nargs="+", help="images")
    parser.add_argument("--weights", default="yolov4.weights")
    parser.add_argument("--config_file", default="./cfg/yolov4.cfg")
    parser.add_argument("--data_file", default="./cfg/coco.data")
    parser.add_argument("--ext_output", action="store_true")
    parser.add_argument("--save_labels", action="store_true")
    parser.add_argument("--out", help="folder for images with boxes")
    parser.add_argument("--thresh", type=float, default=0.25)
    return parser.parse_args()


def resized_rgb(image, network):
    size = darknet.network_width(network), darknet.network_height(network)
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR)


def image_detection(image, network, class_names, class_colors, thresh):
    width = darknet.network_width(network)
    height = darknet.network_height(network)
    darknet_image = darknet.make_image(width, height, 3)
    image_resized = resized_rgb(image, network)
    darknet.copy_image_from_bytes(darknet_image, image_resized.tobytes())
    detections = darknet.detect_image(network, class_names, darknet_image, thresh=thresh)
    darknet.free_image(darknet_image)
    image = darknet.draw_boxes(detections, image_resized, class_colors)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), detections


def prepare_batch(images, network):
    darknet_images = [resized_rgb(image, network).transpose(2, 0, 1) for image in images]
    batch_array = np.concatenate(darknet_images, axis=0)
    batch_array = np.ascontiguousarray(batch_array.flat, dtype=np.float32) / 255.0
    return batch_array.ctypes.data_as(darknet.POINTER(darknet.c_float)), batch_array


def batch_detection(network, images, class_names, class_colors, thresh=0.25, nms=0.45):
    image_height, image_width, _ = images[0].shape
    pointer, memory = prepare_batch(images, network)
    darknet_images = darknet.IMAGE(image_width, image_height, 3, pointer)
    batch_size = len(images)
    batch_detections = darknet.network_predict_batch(
        network, darknet_images, batch_size, image_width, image_height, thresh, 0.5, None, 0, 0
    )
    del memory
    batch_predictions = []
    for idx in range(batch_size):
        num = batch_detections[idx].num
        detections = batch_detections[idx].dets
        if nms:
            darknet.do_nms_obj(detections, num, len(class_names), nms)
        predictions = darknet.remove_negatives(detections, class_names, num)
        images[idx] = darknet.draw_boxes(predictions, images[idx], class_colors)
        batch_predictions.append(predictions)
    darknet.free_batch_detections(batch_detections, batch_size)
    return images, batch_predictions


def image_classification(image, network, class_names):
    width = darknet.network_width(network)
    height = darknet.network_height(network)
    darknet_image = darknet.make_image(width, height, 3)
    darknet.copy_image_from_bytes(darknet_image, resized_rgb(image, network).tobytes())
    detections = darknet.predict_image(network, darknet_image)
    predictions = [(name, detections[idx]) for idx, name in enumerate(class_names)]
    darknet.free_image(darknet_image)
    return sorted(predictions, key=lambda x: -x[1])


def convert2relative(image, bbox):
    x, y, w, h = bbox
    height, width, _ = image.shape
    return x / width, y / height, w / width, h / height


def save_annotations(name, image, detections, class_names):
    with open(os.path.splitext(name)[0] + ".txt", "w") as f:
        for label, confidence, bbox in detections:
            x, y, w, h = convert2relative(image, bbox)
            label = class_names.index(label)
            f.write(f"{label} {x:.4f} {y:.4f} {w:.4f} {h:.4f} {float(confidence):.4f}\n")


def main():
    args = parser()
    random.seed(3)  # deterministic bbox colors
    network, class_names, class_colors = darknet.load_network(
        args.config_file, args.data_file, args.weights, batch_size=1
    )
    for image_name in args.input:
        image, detections = image_detection(
            cv2.imread(image_name), network, class_names, class_colors, args.thresh
        )
        if args.save_labels:
            save_annotations(image_name, image, detections, class_names)
        darknet.print_detections(detections, args.ext_output)
        if args.out:
            cv2.imwrite(os.path.join(args.out, os.path.basename(image_name)), image)
    darknet.free_network_ptr(network)


if __name__ == "__main__":
    main()
